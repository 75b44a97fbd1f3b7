"""How the installed programs were built, as readelf(1) sees it: what makes a
bug in them harder to use."""

import platform
import re
import subprocess

import pytest

from hermes_cli import BUILD, ROOT

PROGRAMS = ("sbin/hermesd", "sbin/hermesctl", "bin/hermes")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    place = tmp_path_factory.mktemp("hardening")
    subprocess.run(["make", "-s", "-C", str(ROOT), "install",
                    f"DESTDIR={place}", f"BUILD={BUILD}"],
                   check=True, capture_output=True)
    return place / "usr/local"


def readelf(path, *what):
    return subprocess.run(["readelf", "-W", *what, str(path)], check=True,
                          capture_output=True, text=True).stdout


def toolchain(name):
    """A file of the compiler's, with which every program begins."""
    return subprocess.run(["cc", f"-print-file-name={name}"], check=True,
                          capture_output=True, text=True).stdout.strip()


@pytest.fixture(params=PROGRAMS)
def program(request, installed):
    return installed / request.param


def test_position_independent(program):
    assert re.search(r"Type:\s+DYN ", readelf(program, "-h"))
    assert re.search(r"FLAGS_1.* PIE", readelf(program, "-d"))


def test_relocations_are_read_only(program):
    """Full RELRO: all bound at the start, then closed."""
    assert "GNU_RELRO" in readelf(program, "-l")
    dynamic = readelf(program, "-d")
    assert re.search(r"FLAGS\).*BIND_NOW", dynamic)
    assert re.search(r"FLAGS_1.* NOW", dynamic)
    assert "TEXTREL" not in dynamic


def test_no_segment_is_both_writable_and_code(program):
    segments = re.findall(r"^\s+(\w+)\s+(?:0x\w+\s+){5}([RWE ]{3})\s",
                          readelf(program, "-l"), re.M)
    assert len(segments) > 5
    flags = dict(segments)
    assert "GNU_STACK" in flags and "E" not in flags["GNU_STACK"]
    assert not [one for one, flag in segments if "W" in flag and "E" in flag]


def test_no_library_path_of_its_own(program):
    assert not re.search(r"R(UN)?PATH", readelf(program, "-d"))


def test_stack_protector_and_fortify(program):
    wanted = {"__stack_chk_fail"}
    names = set(re.findall(r"\s(\w+)@", readelf(program, "--dyn-syms")))
    assert wanted <= names
    checked = {name for name in names if re.fullmatch(r"__\w+_chk", name)}
    assert len(checked) >= 3, checked


def test_indirect_branches_and_returns(installed):
    """CET, where there is: every object of ours has both parts; a linked
    program has them if the compiler's own first object does."""
    if platform.machine() != "x86_64":
        return
    notes = "".join(readelf(BUILD / archive, "-n") for archive in
                    ("libdaemon.a", "libctl.a", "libhermes.a"))
    objects = len(re.findall(r"^File: ", notes, re.M))
    assert objects > 30
    assert len(re.findall(r"x86 feature: .*IBT, SHSTK", notes)) == objects
    if "IBT, SHSTK" not in readelf(toolchain("Scrt1.o"), "-n"):
        return
    for name in PROGRAMS:
        assert "IBT, SHSTK" in readelf(installed / name, "-n")
