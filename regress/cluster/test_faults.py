"""Faults from inside a living node: memory that is not there, reads and writes
that do a part or nothing, no descriptors, no disk. Chats go on, every message
is counted, and a process that cannot go on ends in order and is started again.
Environment: FAULTS_MEMORY, allocations that fail in each process (6)."""

import os
import random
import ssl
import time

import pytest

from faults import PROCESSES, Faults
from hermes_node import Node, join, until
from hermes_wire import server_certificate
from netns import Load, arrived

POINTS = int(os.environ.get("FAULTS_MEMORY", "6"))
CHATS = 6
EVERY = 20    # ms
LONG = 120    # seconds, on a busy machine
FAILED = 200  # calls


class Pair:
    """alpha, whose calls fail; beta, whose calls do not; chats of theirs."""

    def __init__(self):
        self.nodes, self.loads = [Node("alpha"), Node("beta")], []
        self.faults = Faults(self.nodes[0].folder)
        self.nodes[0].prefix = self.faults.prefix
        try:
            for node in self.nodes:
                node.start()
            join(*self.nodes)
            self.loads = [Load(node) for node in self.nodes]
            for load, mine, other in zip(self.loads, "ab", "ba"):
                for i in range(CHATS):
                    load.app(f"{mine}{i}")
                    load.chat(f"{mine}{i}", f"chat-{i}", f"{other}{i}",
                              EVERY, 0, 500)
            self.say("go")
            self.goes_on()
        except BaseException:
            for node in self.nodes:
                print(f"--- {node.name}\n{node.log()[-4000:]}")
            self.destroy()
            raise

    def say(self, what):
        for load in self.loads:
            load.say(what)

    def rows(self):
        return {(row["chat"], row["app"][0]): row
                for load in self.loads for row in load.show()}

    def alive(self):
        """Start alpha again if it ended, as a service manager does: as often
        as its children still hold its ports. It must have ended in order."""
        alpha = self.nodes[0]
        if alpha.process.poll() is not None:
            assert alpha.process.returncode > 0, alpha.process.returncode
            alpha.spawn()

    def goes_on(self):
        """Every chat, both ways."""
        before = self.rows()

        def moved():
            self.alive()
            now = self.rows()
            return all(now[key]["acked"] > row["acked"] and
                       now[key]["received"] > row["received"]
                       for key, row in before.items())
        until("every chat goes on", moved, LONG)

    def in_order(self):
        """No process of alpha was killed by what it did."""
        assert " signal=" not in self.nodes[0].log()

    def account(self):
        """Everything sent was received, once and in order."""
        self.say("stop")
        until("all arrived", lambda: arrived(self.rows().values()), LONG)
        rows = self.rows()
        for (chat, side), row in rows.items():
            other = rows[chat, "b" if side == "a" else "a"]
            assert row["sent"] == other["received"] > 0, (row, other)
            assert row["wrong"] == row["gaps"] == 0, row
            assert row["gone"] == "", row
        self.say("go")

    def destroy(self):
        for load in self.loads:
            load.end()
        for node in self.nodes:
            node.destroy()


@pytest.fixture(scope="module")
def pair():
    one = Pair()
    yield one
    one.destroy()


def hits(pair, processes, kind):
    return sum(pair.faults.count(p, kind)[1] for p in processes)


@pytest.mark.parametrize("process", ["parent", "router", "keyd", "mesh",
                                     "control"])
def test_memory(pair, process):
    """Allocations here and there of what a process does in a while."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    first = pair.faults.count(process, "memory")[0]
    pair.goes_on()
    many = max(pair.faults.count(process, "memory")[0] - first, 20)
    for _ in range(POINTS):
        before = hits(pair, [process], "memory")
        pair.faults.once(process, "memory", dice.randrange(1, many))

        def hit():
            pair.alive()
            for ask in (("status",), ("show", "chats")):
                pair.nodes[0].ctl_run(*ask)
            return hits(pair, [process], "memory") > before
        until("an allocation failed", hit, LONG)
        pair.goes_on()
    pair.account()
    pair.in_order()


@pytest.mark.parametrize("kind,every", [("short", 3), ("intr", 3),
                                        ("full", 3)])
def test_sockets(pair, kind, every):
    """Bytes one by one, calls that a signal broke off, buffers that are
    full: nobody even dies of it."""
    busy = ("router", "keyd", "mesh")
    restarts = [p["restarts"] for p in
                pair.nodes[0].ctl("status", ok=False)["processes"]]
    before = {p: hits(pair, [p], kind) for p in busy}
    for process in PROCESSES:
        pair.faults.every(process, kind, every)
    pair.goes_on()
    until("calls failed", lambda: all(
        hits(pair, [p], kind) > before[p] + FAILED for p in busy), LONG)
    pair.goes_on()
    for process in PROCESSES:
        pair.faults.every(process, kind, 0)
    pair.account()
    assert [p["restarts"] for p in pair.nodes[0].ctl(
        "status", ok=False)["processes"]] == restarts
    pair.in_order()


def test_descriptors(pair):
    """None for a while, for new connections and sockets; then some."""
    for process in PROCESSES:
        pair.faults.every(process, "files", 1)
    before = hits(pair, PROCESSES, "files")
    pair.loads[0].say("drop a0")
    until("calls failed", lambda: hits(pair, PROCESSES, "files") > before,
          LONG)
    end = time.monotonic() + 0.5
    until("others go on", lambda: time.monotonic() > end and all(
        row["sent"] for row in pair.rows().values()))
    for process in PROCESSES:
        pair.faults.every(process, "files", 0)
    pair.goes_on()
    pair.account()
    pair.in_order()


def test_disk(pair):
    """No write of keyd's succeeds any more; then they do."""
    before = hits(pair, ["keyd"], "space")
    pair.faults.every("keyd", "space", 1)
    until("writes failed", lambda: hits(pair, ["keyd"], "space") > before,
          LONG)
    pair.faults.every("keyd", "space", 0)
    pair.goes_on()
    pair.account()
    pair.in_order()


def test_disk_and_other_names(pair):
    """A certificate with other names cannot be kept. It is made once there is
    room, and a router that comes meanwhile is not left without any."""
    alpha = pair.nodes[0]
    mark = len(alpha.log())
    pair.faults.every("keyd", "room", 1)
    until("keyd sees it",
          lambda: "event=store_not_written" in alpha.log()[mark:], LONG)
    with open(alpha.config, "a") as out:
        out.write('advertise app "elsewhere.example:7443"\n')
    alpha.ctl("reload")
    until("it was not kept",
          lambda: "event=certificates_late" in alpha.log()[mark:], LONG)
    pair.faults.every("keyd", "room", 0)
    alpha.kill_process("router")

    def named():
        try:
            pem = server_certificate(alpha.app)
        except OSError:
            return False
        return b"elsewhere.example" in ssl.PEM_cert_to_DER_cert(pem)
    until("apps find it", named, LONG)
    pair.goes_on()
    pair.account()
