"""docs/tutorial.md: both programs as they are printed, built against what
`make install` puts down, run on two real nodes, with each other."""

import os
import re
import subprocess
import sys
import threading

import pytest

from hermes_cli import BUILD
from hermes_wire import ROOT, WAIT

TEXT = (ROOT / "docs/tutorial.md").read_text()


def listing(language):
    return re.search(rf"^```{language}\n(.*?)^```", TEXT, re.S | re.M)[1]


def telling():
    """The C program with the two callbacks that are added to it."""
    more = re.findall(r"^```c\n(.*?)^```", TEXT, re.S | re.M)[1]
    names = re.search(r"\(`(\.disconnected = .*?)`\)", TEXT)[1]
    text = listing("c")
    for old, new in ((".message = on_message", f"{names}, "),
                     ("static void\non_ready(", f"{more}\n")):
        assert text.count(old) == 1
        text = text.replace(old, new + old)
    return text


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """What an app developer has: an installed Hermes."""
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["make", "-s", "-C", ROOT, f"BUILD={BUILD}",
                    f"PREFIX={prefix}", f"UNITDIR={prefix}/unit",
                    f"SYSUSERSDIR={prefix}/sysusers",
                    f"TMPFILESDIR={prefix}/tmpfiles", "install"], check=True)
    return prefix


@pytest.fixture(scope="module")
def programs(prefix, tmp_path_factory):
    """{language: command before HOST:PORT}, made as the tutorial says."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "app.c").write_text(listing("c"))
    (folder / "telling.c").write_text(telling())
    (folder / "app.py").write_text(listing("python"))
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "libhermes"], check=True,
        capture_output=True, text=True,
        env={**os.environ, "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig"}
    ).stdout.split()
    for name in ("app", "telling"):
        subprocess.run(["cc", "-Wall",
                        *os.environ.get("EXTRA_CFLAGS", "").split(), "-o",
                        name, f"{name}.c", *flags], check=True, cwd=folder)
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I",
                    prefix / "share/hermes/proto", "--python_out=.",
                    "--grpc_python_out=.", "approuter.proto"], check=True,
                   cwd=folder)
    return {"c": [folder / "app"], "telling": [folder / "telling"],
            "python": [sys.executable, folder / "app.py"]}


class App:
    """A program of the tutorial on a node."""

    def __init__(self, programs, language, node, folder, *peer):
        key = folder / f"{language}{len(peer)}.key"
        subprocess.run([BUILD / "hermes", "keygen", key], check=True,
                       capture_output=True)
        command = [*programs[language], node.app]
        if language == "python":
            pem = folder / f"{node.name}.pem"
            pem.write_text(node.ctl_run("show", "certificate").stdout)
            command.append(pem)
        self.process = subprocess.Popen(
            [*command, key, *peer], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def line(self):
        """The next line; a program that says nothing more is ended."""
        timer = threading.Timer(WAIT, self.process.kill)
        timer.start()
        try:
            return self.process.stdout.readline().rstrip("\n")
        finally:
            timer.cancel()


@pytest.mark.parametrize("language", ["c", "python"])
def test_at_most_sixty_lines(language):
    assert len(listing(language).splitlines()) <= 60


@pytest.mark.parametrize("asks", ["c", "python"])
@pytest.mark.parametrize("answers", ["c", "python"])
def test_hello(mesh, programs, tmp_path, asks, answers):
    with App(programs, answers, mesh[0], tmp_path) as server:
        identity = server.line().removeprefix("I am ")
        assert re.fullmatch("[0-9a-f]{64}", identity)
        with App(programs, asks, mesh[1], tmp_path, identity) as client:
            assert client.line().startswith("I am ")
            assert server.line() == "hello"
            assert client.line() == "you said: hello"
            assert client.process.wait(WAIT) == 0


def test_a_node_that_is_not_there_is_told(programs, tmp_path):
    key = tmp_path / "key"
    subprocess.run([BUILD / "hermes", "keygen", key], check=True,
                   capture_output=True)
    with subprocess.Popen([*programs["telling"], "127.0.0.1:1", key],
                          stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        process.kill()
    assert line == ("telling: 127.0.0.1 port 1: Connection refused; "
                    "trying again\n")


def test_library_shows_its_own_names_only(prefix):
    """An app may have functions of any other name."""
    names = subprocess.run(
        ["nm", "-g", "--defined-only", "-P", prefix / "lib/libhermes.a"],
        check=True, capture_output=True, text=True).stdout.split("\n")
    names = [line.split()[0] for line in names if " " in line]
    assert names and all(name.startswith("hermes_") for name in names), names
    header = (ROOT / "client/hermes.h").read_text()
    declared = set(re.findall(r"\b(hermes_[a-z_]+)\(", header))
    assert set(names) == declared
