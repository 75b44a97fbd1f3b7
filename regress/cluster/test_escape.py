"""Somebody has taken a process over and tries to get out: system calls made
inside each living process of a real node, and what becomes of them. The table
of process, attempt and outcome that they make is the one in hermesd(8). With
`pytest -s` it is printed. Root only: nobody else may enter a process."""

import errno
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess

import pytest

from hermes_node import HERMESD, Node, until
from inject import Held, Killed

PROCESSES = ("router", "keyd", "mesh", "control", "parent")
PAGE = pathlib.Path(__file__).resolve().parents[2] / "man" / "hermesd.8"

AT_FDCWD, AT_EMPTY_PATH, O_PATH, O_CREAT = -100, 0x1000, 0o10000000, 0o100
PROT_READ, PROT_WRITE, PROT_EXEC, MAP_PRIVATE, MAP_ANONYMOUS = 1, 2, 4, 2, 32
PTRACE_ATTACH, PR_SET_DUMPABLE, TIOCSTI = 16, 4, 0x5412
CLONE_NEWUSER = 0x10000000
GIB = 1 << 30
EXEC_FD = 4  # where a child keeps the program it becomes


@pytest.fixture(autouse=True)
def root():
    assert os.geteuid() == 0, "needs root"


# --- attempts ----------------------------------------------------------------
# Each gets the process, held, and what is around it, and gives the result of
# the call that matters.

class Around:
    """What a process may try to get at."""

    def __init__(self, node):
        self.pids = node.pids()
        self.listener = socket.create_server(("127.0.0.1", 0))

    def address(self, port=None):
        if port is None:
            port = self.listener.getsockname()[1]
        return (struct.pack("=H", socket.AF_INET) +
                struct.pack("!H4s8x", port, socket.inet_aton("127.0.0.1")))

    def sibling(self, process):
        return self.pids["mesh" if process == "router" else "router"]


def tcp(held):
    return held.call("socket", socket.AF_INET, socket.SOCK_STREAM, 0)


def read_file(held, around, process):
    return held.call("openat", AT_FDCWD, b"/etc/passwd", os.O_RDONLY, 0)


def write_file(held, around, process):
    return held.call("openat", AT_FDCWD, b"/tmp/hermes-escaped",
                     os.O_WRONLY | O_CREAT | os.O_EXCL, 0o600)


def fork(held, around, process):
    return held.call("clone", signal.SIGCHLD, 0, 0, 0, 0)


def namespace(held, around, process):
    return held.call("clone", CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0)


def execute(held, around, process):
    return held.call("execve", b"/bin/sh", 0, 0)


def execute_descriptor(held, around, process):
    """The door that is left to the parent, with another program behind it."""
    shell = held.call("openat", AT_FDCWD, b"/bin/sh", O_PATH, 0)
    assert shell >= 0
    held.call("dup2", shell, EXEC_FD)
    return held.call("execveat", EXEC_FD, b"", 0, 0, AT_EMPTY_PATH)


def connect_out(held, around, process):
    address = around.address()
    return held.call("connect", tcp(held), address, len(address))


def bind_port(held, around, process):
    address = around.address(0)
    return held.call("bind", tcp(held), address, len(address))


def raw_socket(held, around, process):
    return held.call("socket", socket.AF_INET, socket.SOCK_RAW,
                     socket.IPPROTO_ICMP)


def trace(held, around, process):
    return held.call("ptrace", PTRACE_ATTACH, around.sibling(process), 0, 0)


def read_memory(held, around, process):
    there = struct.pack("QQ", 0x400000, 64)
    here = struct.pack("QQ", held.saved.rsp - 2048, 64)
    return held.call("process_vm_readv", around.sibling(process), here, 1,
                     there, 1, 0)


def open_memory(held, around, process):
    path = f"/proc/{around.sibling(process)}/mem".encode()
    return held.call("openat", AT_FDCWD, path, os.O_RDWR, 0)


def signal_sibling(held, around, process):
    return held.call("kill", around.sibling(process), 0)


def signal_stranger(held, around, process):
    return held.call("kill", os.getpid(), 0)


def grow_memory(held, around, process):
    """To the end: what the bound leaves, taken at once and then page-wise."""
    for _ in range(4096):
        got = held.call("mmap", 0, GIB, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if got < 0:
            return got
    return 0


def grow_descriptors(held, around, process):
    for _ in range(100000):
        if process == "mesh":
            got = tcp(held)
        elif process == "keyd":
            got = held.call("openat", AT_FDCWD, b".", os.O_RDONLY, 0)
        else:
            got = held.call("dup", 0)
        if got < 0:
            return got
    return 0


def map_code(held, around, process):
    return held.call("mmap", 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)


def make_code(held, around, process):
    page = held.call("mmap", 0, 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    assert page > 0
    return held.call("mprotect", page, 4096, PROT_READ | PROT_EXEC)


def become_dumpable(held, around, process):
    return held.call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)


def push_terminal(held, around, process):
    return held.call("ioctl", 0, TIOCSTI, b"x")


def become_root(held, around, process):
    return held.call("setuid", 0)


def mount(held, around, process):
    return held.call("mount", b"none", b"/", b"tmpfs", 0, 0)


def unusual(held, around, process):
    """A newer way around filters of calls."""
    return held.call("io_uring_setup", 1, b"\0" * 120)


# attempt -> {process: outcome}; a process that is not named is killed.
# "may": it is its work, or its children's, who are born within its walls.
ATTEMPTS = {
    "open /etc/passwd": (read_file, {"keyd": "ENOENT", "parent": "may"}),
    "write a file elsewhere": (write_file, {"keyd": "within", "parent":
                                            "EACCES"}),
    "fork": (fork, {"parent": None}),
    "new namespace": (namespace, {"parent": "EPERM"}),
    "exec /bin/sh": (execute, {"parent": "EPERM"}),
    "exec by descriptor": (execute_descriptor, {"keyd": "none",
                                                "parent": "EACCES"}),
    "connect out": (connect_out, {"mesh": "may", "parent": "may"}),
    "bind a port": (bind_port, {"parent": "may"}),
    "raw socket": (raw_socket, {"parent": "EPERM"}),
    "ptrace a sibling": (trace, {"parent": "EPERM"}),
    "read its memory": (read_memory, {"parent": "EPERM"}),
    "open its memory": (open_memory, {"keyd": "ENOENT", "parent": "EACCES"}),
    "signal a sibling": (signal_sibling, {"parent": "may"}),
    "signal a stranger": (signal_stranger, {"parent": "EPERM"}),
    "memory without end": (grow_memory, {
        "router": "ENOMEM", "keyd": "ENOMEM", "mesh": "ENOMEM",
        "control": "ENOMEM", "parent": None}),
    "descriptors without end": (grow_descriptors, {
        "keyd": "EMFILE", "mesh": "EMFILE", "parent": "EMFILE"}),
    "map writable code": (map_code, {"parent": "EPERM"}),
    "make memory code": (make_code, {"parent": "EPERM"}),
    "become dumpable": (become_dumpable, {"parent": None}),
    "ioctl": (push_terminal, {"parent": "EPERM"}),
    "become root": (become_root, {"parent": None}),
    "mount": (mount, {"parent": "EPERM"}),
    "io_uring": (unusual, {"parent": "EPERM"}),
}


def expected(attempt, process):
    return ATTEMPTS[attempt][1].get(process, "killed")


def outcome(node, attempt, process, around):
    """What becomes of an attempt, in a word."""
    try:
        with Held(around.pids[process]) as held:
            got = ATTEMPTS[attempt][0](held, around, process)
    except Killed as death:
        assert death.signal == signal.SIGSYS, death
        return "killed"
    return "may" if got >= 0 else errno.errorcode[-got]
