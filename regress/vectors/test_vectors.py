"""The committed vectors are what the independent implementation makes."""

import importlib.util
import json
import pathlib

HERE = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location(
    "make_vectors", HERE / "make_vectors.py")
make_vectors = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_vectors)


def test_committed_vectors_are_current():
    text, header = make_vectors.make()
    assert (HERE / "ratchet.json").read_text() == text
    assert (HERE / "ratchet_vectors.h").read_text() == header


def test_vectors_cover_what_they_should():
    cases = json.loads((HERE / "ratchet.json").read_text())
    assert {c["name"] for c in cases} == {
        "chacha", "aes", "mixed", "sha512", "reset"}
    for case in cases:
        assert [e["version"] for e in case["epochs"]] == [1, 2, 3]
        assert {(m["version"], m["side"]) for m in case["messages"]} == {
            (v, s) for v in (1, 2, 3) for s in (0, 1)}
        links = [e["link"] for e in case["epochs"]]
        assert len(set(links)) == 3
        # One chat is one instance, whoever does not know which.
        assert len({e["instance"] for e in case["epochs"]}) == 1
        assert len(case["epochs"][0]["instance"]) == 32
