"""What a message costs, as a state and not as a time: the system calls of
each process of two nodes, counted by strace(1), for a message and its
acknowledgement while nothing else is to be done, and for one of many. One
more of either kind is seen here."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from hermes_cli import Cli
from hermes_node import Mesh

# For each message that goes from the first node to the second, alone.
ALONE = {
    "alpha router": 6,  # read, keyd; acknowledgement, app; twice epoll_wait
    "alpha keyd": 4,    # read, commit, mesh; epoll_wait
    "alpha mesh": 6,    # read, wire; wire, router; twice epoll_wait
    "beta mesh": 6,
    "beta keyd": 6,     # read, router; progress read, commit; epoll_wait
    "beta router": 6,   # read, app, is it out?, mesh, keyd; epoll_wait
}
MESSAGES = 1000
# Chance only adds: a busy machine may spoil a run, but not every one.
RUNS = 5
# One more for each message is too many; a quarter is chance.
MARGIN = 0.25
# And by the second whatever is done by the second: gossip, timers, what keyd
# is told by and by.
BESIDES = 300
CHATS = 64
# For one of many on their way.
MANY = 0.05
UNLIMITED = "limits {\n\tmessages per second 0\n}\n"


class Count:
    """The system calls of a process, from enter to exit."""

    def __init__(self, name, pid, folder):
        self.name, self.pid = name, pid
        self.out = pathlib.Path(folder) / name
        self.calls = {}
        self.strace = subprocess.Popen(
            ["strace", "-f", "-c", "-o", str(self.out), "-p", str(pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # It says so on stderr once it is attached.
        line = self.strace.stderr.readline()
        assert "attached" in line, line

    def stop(self):
        self.strace.send_signal(signal.SIGINT)
        self.strace.communicate(timeout=60)
        for row in self.out.read_text().splitlines():
            columns = re.match(
                r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", row)
            if columns and columns[2] != "total":
                self.calls[columns[2]] = int(columns[1])
        assert self.calls, self.out.read_text()
        return sum(self.calls.values())


def counted(mesh, *arguments):
    """hermes bench from the first node to the second: the calls of each
    process, the seconds it took, and the calls by name, for whoever has to
    find the one too many."""
    seed = os.urandom(8).hex()
    with tempfile.TemporaryDirectory() as folder, \
            Cli("recv", mesh[1].app, seed + "to", "--quiet") as to:
        to.wait("CONNECTED")
        counts = [Count(f"{node.name} {process}", pid, folder)
                  for node in mesh.nodes
                  for process, pid in node.pids().items()
                  if process in ("router", "keyd", "mesh")]
        start = time.monotonic()
        with Cli("bench", mesh[0].app, seed + "from", *arguments,
                 to.identity.id) as bench:
            bench.succeed(120)
        calls = {count.name: count.stop() for count in counts}
        seconds = time.monotonic() - start
        return calls, seconds, {c.name: c.calls for c in counts}


def test_a_message_alone():
    """Round trips, one after the other."""
    with Mesh(2, extra=UNLIMITED) as mesh:
        for _ in range(RUNS):
            calls, seconds, named = counted(
                mesh, "--count", MESSAGES, "--window", 1)
            # It was these processes that carried them.
            assert all(calls[name] > MESSAGES for name in ALONE), named
            limits = {name: (usual + MARGIN) * MESSAGES + BESIDES * seconds
                      for name, usual in ALONE.items()}
            if all(calls[name] <= limits[name] for name in ALONE):
                return
        raise AssertionError((calls, limits, named))


def test_a_message_of_many():
    """All that the windows of 64 chats allow at once: whatever is read,
    committed or written, is so for many messages."""
    with Mesh(2, extra=UNLIMITED) as mesh:
        calls, seconds, named = counted(
            mesh, "--count", MESSAGES, "--chats", CHATS)
        limit = MANY * CHATS * MESSAGES + BESIDES * seconds
        assert all(count <= limit for count in calls.values()), (
            limit, calls, named)
