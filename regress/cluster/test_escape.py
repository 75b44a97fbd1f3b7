"""Somebody has taken a process over and tries to get out: system calls made
inside each living process of a real node, and what becomes of them. The table
of process, attempt and outcome that they make is the one in hermesd(8). With
`pytest -s` it is printed. Root only: nobody else may enter a process."""

import contextlib
import errno
import grp
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys

import pytest

from hermes_node import HERMESD, Node, free_ports, take, until
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
        self.file = str(node.config).encode()
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
    """The way that is left to the parent, with another program behind it."""
    if process == "parent":
        shell = held.call("openat", AT_FDCWD, b"/bin/sh", O_PATH, 0)
        assert shell >= 0
        assert held.call("dup2", shell, EXEC_FD) == EXEC_FD
    return held.call("execveat", EXEC_FD, b"", 0, 0, AT_EMPTY_PATH)


def connect_out(held, around, process):
    address = around.address()
    return held.call("connect", tcp(held), address, len(address))


def bind_port(held, around, process):
    address = around.address(0)
    return held.call("bind", tcp(held), address, len(address))


def bind_low_port(held, around, process):
    for port in (1023, 1022, 1021):
        address = around.address(port)
        got = held.call("bind", tcp(held), address, len(address))
        if got != -errno.EADDRINUSE:
            return got
    return got


def give_away(held, around, process):
    return held.call("chown", around.file, 65534, 65534)


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
    taken = []
    for _ in range(100000):
        if process == "mesh":
            got = tcp(held)
        elif process == "keyd":
            got = held.call("openat", AT_FDCWD, b".", os.O_RDONLY, 0)
        else:
            got = held.call("dup", 0)
        if got < 0:
            # The parent wants some to start those again that die of this.
            assert not any(held.call("close", one) for one in taken)
            return got
        taken.append(got)
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
    "write a file elsewhere": (write_file, {"keyd": "ENOENT", "parent":
                                            "EACCES"}),
    "fork": (fork, {"parent": "may"}),
    "new namespace": (namespace, {"parent": "EPERM"}),
    "exec /bin/sh": (execute, {"parent": "EPERM"}),
    "exec by descriptor": (execute_descriptor, {"parent": "EACCES"}),
    "connect out": (connect_out, {"mesh": "may", "parent": "may"}),
    "bind a port": (bind_port, {"parent": "may"}),
    "bind a low port": (bind_low_port, {"parent": "EACCES"}),
    "change an owner": (give_away, {"parent": "EPERM"}),
    "raw socket": (raw_socket, {"parent": "EPERM"}),
    "ptrace a sibling": (trace, {"parent": "EPERM"}),
    "read its memory": (read_memory, {"parent": "EPERM"}),
    "open its memory": (open_memory, {"keyd": "ENOENT", "parent": "EACCES"}),
    "signal a sibling": (signal_sibling, {"parent": "EPERM"}),
    "signal a stranger": (signal_stranger, {"parent": "EPERM"}),
    "memory without end": (grow_memory, {
        "router": "ENOMEM", "keyd": "ENOMEM", "mesh": "ENOMEM",
        "control": "ENOMEM", "parent": "ENOMEM"}),
    "descriptors without end": (grow_descriptors, {
        "keyd": "EMFILE", "mesh": "EMFILE", "parent": "EMFILE"}),
    "map writable code": (map_code, {"parent": "EPERM"}),
    "make memory code": (make_code, {"parent": "EPERM"}),
    "become dumpable": (become_dumpable, {"parent": "EPERM"}),
    "ioctl": (push_terminal, {"parent": "EPERM"}),
    "become root": (become_root, {"parent": "may"}),
    "mount": (mount, {"parent": "EPERM"}),
    "io_uring": (unusual, {"parent": "EPERM"}),
}


def outcome(attempt, process, around):
    """What becomes of an attempt, in a word."""
    try:
        with Held(around.pids[process]) as held:
            got = ATTEMPTS[attempt][0](held, around, process)
    except Killed as death:
        assert death.signal == signal.SIGSYS, death
        return "killed"
    return "may" if got >= 0 else errno.errorcode[-got]


def documented():
    """{(attempt, process): outcome} of the table in hermesd(8)."""
    rows = [line[4:].split(" Ta ") for line in PAGE.read_text().splitlines()
            if line.startswith(".It ") and line.count(" Ta ") == 5]
    heads = [cell.removeprefix("Em ") for cell in rows[0][1:]]
    assert sorted(heads) == sorted(PROCESSES)
    return {(row[0].strip('"'), process): cell
            for row in rows[1:] for process, cell in zip(heads, row[1:])}


class Table:
    """What came of it, printed at the end."""

    def __init__(self):
        self.cells = {}

    def __str__(self):
        lines = [("attempt",) + PROCESSES]
        for attempt in ATTEMPTS:
            lines.append((attempt,) + tuple(
                self.cells.get((attempt, process), "-")
                for process in PROCESSES))
        return "\n".join(" ".join(f"{cell:{24 if i == 0 else 9}}"
                                  for i, cell in enumerate(line)).rstrip()
                         for line in lines)


@pytest.fixture(scope="module")
def table():
    out = Table()
    yield out
    print(f"\n{out}")


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nobody_gets_out(attempt, table):
    """One node an attempt, for most of its processes die of it."""
    _, others = ATTEMPTS[attempt]
    with Node("escape") as node:
        around = Around(node)
        # The parent first, while it has children; keyd last: it ends all.
        for process in ("parent", "router", "mesh", "control", "keyd"):
            wanted = others.get(process, "killed")
            if (attempt, process) == ("fork", "parent"):
                got = "may"  # its children are the proof
            else:
                got = outcome(attempt, process, around)
            table.cells[attempt, process] = got
            assert got == wanted, (attempt, process)
            if got == "killed":
                line = (f"process_died process={process} "
                        f"pid={around.pids[process]} signal=31 reason=sandbox")
                until(line, lambda what=line: what in node.log())
        around.listener.close()
        if got == "killed":  # keyd, and so the node
            assert node.process.wait(60) == 1


def test_the_page_says_so():
    assert documented() == {
        (attempt, process): others.get(process, "killed")
        for attempt, (_, others) in ATTEMPTS.items()
        for process in PROCESSES}


@pytest.mark.parametrize("process", ["router", "mesh", "control"])
def test_started_again_after_a_violation(process):
    with Node("escape") as node:
        around = Around(node)
        assert outcome("exec /bin/sh", process, around) == "killed"
        until(f"{process} started again", lambda: node.pids_or_none(
            process) not in (None, 0, around.pids[process]))
        until("ready", lambda: node.http("/readyz")[0] == 200)
        assert f"process_restart process={process} seconds=1" in node.log()
        around.listener.close()


def status(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(re.findall(r"^(\w+):\t(.*)$", text, re.M))


def test_walls_as_the_kernel_sees_them():
    with Node("escape") as node:
        for process, pid in node.pids().items():
            facts = status(pid)
            assert facts["NoNewPrivs"] == "1"
            assert facts["Seccomp"] == "2"
            # The child's own list, and that of the parent around it.
            assert facts["Seccomp_filters"] == \
                ("1" if process == "parent" else "2")
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"^Max core file size\s+0\s+0 ", limits, re.M)
            root = os.readlink(f"/proc/{pid}/root")
            if process == "parent":
                assert root == "/"
                # dac_read_search setgid setuid sys_chroot
                held = sum(1 << bit for bit in (2, 6, 7, 18))
                for which in ("CapEff", "CapPrm"):
                    assert int(facts[which], 16) & ~held == 0
                assert int(facts["CapBnd"], 16) == 0
                assert int(facts["CapInh"], 16) & ~(1 << 18) == 0
                continue
            assert re.search(r"^Max processes\s+0\s+0 ", limits, re.M)
            assert int(facts["CapPrm"], 16) == int(facts["CapBnd"], 16) == 0
            data = re.search(r"^Max data size\s+(\d+)", limits, re.M)
            assert int(data[1]) < 64 * GIB
            if process == "keyd":
                assert root == str(node.config.parent / "keystore")
            else:
                assert root.endswith("(deleted)")
                assert os.listdir(f"/proc/{pid}/root") == []
        assert node.log().count("event=sandbox landlock=") == 5


def low_ports(count):
    """Ports below 1024 that are free just now, and ours alone."""
    sockets = []
    for port in range(1023, 600, -1):
        if not take(f"port-{port}"):
            continue
        one = socket.socket()
        with contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            sockets.append(one)
        if len(sockets) == count:
            break
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_who_listens_at_a_low_port_may_move_to_another():
    """And hermesctl's socket, too, is made anew for its group."""
    first, second = low_ports(2)
    ports = [f"127.0.0.1:{port}" for port in free_ports(2)]
    node = Node("escape", addresses=(*ports, f"127.0.0.1:{first}"))
    with node:
        assert int(status(node.process.pid)["CapEff"], 16) & 1 << 10
        group = os.stat(node.socket).st_gid
        assert group == grp.getgrnam("_hermes_control").gr_gid
        text = node.config.read_text()
        new = node.socket + "2"
        assert text.count(f"port {first}\n") == text.count(
            node.socket) == 1
        node.config.write_text(text.replace(
            f"port {first}\n", f"port {second}\n").replace(
                node.socket, new))
        node.ctl_run("reload")
        node.socket, node.admin = new, f"127.0.0.1:{second}"
        until("it moved", lambda: node.http("/readyz")[0] == 200)
        assert os.stat(new).st_gid == group
        assert node.healthy()


def test_without_root():
    """What can be is there: no root folder of its own, but all else. Files
    that the user may read are refused by Landlock."""
    node = Node("escape")
    try:
        subprocess.run(["chown", "-R", "65534:65534", str(node.folder)],
                       check=True)
        node.prefix = ["setpriv", "--reuid", "65534", "--regid", "65534",
                       "--clear-groups"]
        node.start()
        around = Around(node)
        assert node.log().count("root=shared") == 4
        for pid in around.pids.values():
            assert status(pid)["Seccomp"] == "2"
        with Held(around.pids["keyd"]) as held:
            assert read_file(held, around, "keyd") == -errno.EACCES
            assert write_file(held, around, "keyd") == -errno.EACCES
            assert open_memory(held, around, "keyd") == -errno.EACCES
        assert outcome("make memory code", "mesh", around) == "killed"
        around.listener.close()
    finally:
        node.destroy()


def test_behind_seccomp_there_are_more_walls():
    """Where it only logs, the others still stand."""
    with Node("escape", extra="sandbox log\n") as node:
        around = Around(node)
        assert node.log().count("seccomp=log") == 5
        assert "sandbox_log" in node.log()
        with Held(around.pids["mesh"]) as held:
            assert bind_port(held, around, "mesh") == -errno.EACCES
            assert signal_stranger(held, around, "mesh") == -errno.EPERM
            assert read_file(held, around, "mesh") == -errno.ENOENT
            assert fork(held, around, "mesh") == -errno.EAGAIN
        for process in ("router", "control", "keyd"):
            with Held(around.pids[process]) as held:
                assert connect_out(held, around, process) == -errno.EACCES
                assert read_memory(held, around, process) == -errno.EPERM
        with Held(around.pids["router"]) as held:
            assert open_memory(held, around, "router") == -errno.ENOENT
            assert execute(held, around, "router") == -errno.ENOENT
        node.wait_ready()
        assert node.healthy()
        around.listener.close()


# Run a program on a kernel that has no Landlock: seccomp makes one of the
# calls that ask for it ENOSYS.
NO_LANDLOCK = """
import ctypes, os, struct, sys
code = b"".join(struct.pack("HBBI", *i) for i in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, 0x50026),
    (0x06, 0, 0, 0x7fff0000)))
buffer = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(
    struct.pack("HxxxxxxQ", 4, ctypes.addressof(buffer)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_kernel_without_landlock():
    """It is said, and the rest of the walls stands."""
    node = Node("escape")
    try:
        node.prefix = [sys.executable, "-c", NO_LANDLOCK]
        node.start()
        around = Around(node)
        assert node.log().count("landlock_missing") == 5
        assert node.log().count("landlock=0 seccomp=kill root=own") == 4
        with Held(around.pids["keyd"]) as held:
            assert read_file(held, around, "keyd") == -errno.ENOENT
        assert outcome("open /etc/passwd", "router", around) == "killed"
        around.listener.close()
    finally:
        node.destroy()


def test_files_do_not_grow():
    """Only keyd's, when the log is no file."""
    with Node("escape") as node:
        log = node.log_path
        node.stop()
        node.prefix = ["bash", "-c", f'exec "$@" 2> >(cat >>"{log}")', "bash"]
        node.start()
        for process, pid in node.pids().items():
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            bounded = re.search(r"^Max file size\s+0\s+0 ", limits, re.M)
            assert bool(bounded) == (process in ("router", "mesh", "control"))
        assert node.stop() == 0


def test_in_the_background():
    """syslog(3) may look for its socket again at any line, of any kind: that
    is refused, and is nobody's death."""
    node = Node("escape")
    pids = {}
    try:
        subprocess.run([HERMESD, "-f", str(node.config)], check=True,
                       timeout=60)
        until("ready", lambda: node.http("/readyz")[0] == 200)
        pids = node.pids()
        for process in ("router", "mesh", "control", "keyd"):
            with Held(pids[process]) as held:
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    assert held.call("socket", socket.AF_UNIX, kind,
                                     0) == -errno.EACCES
        # Each has something to say.
        node.ctl("reload")
        assert node.ctl("show")["summary"]["node_id"] == "escape"
        assert node.pids() == pids
        node.ctl("stop")
        until("ended", lambda: not any(os.path.exists(f"/proc/{pid}")
                                       for pid in pids.values()))
        pids = {}  # they may be others' by now
    finally:
        for pid in pids.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.destroy()


def test_logging_is_for_the_foreground():
    node = Node("escape", extra="sandbox log\n")
    try:
        run = subprocess.run([HERMESD, "-f", str(node.config)],
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == 1
        assert "sandbox log: only with -d" in run.stderr
    finally:
        node.destroy()
