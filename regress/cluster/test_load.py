"""Chats under load on real nodes: one that is stuck slows no other (L24), and
apps and streams that end at any moment end no process (L29). Environment:
CHAOS_SECONDS, how long that lasts (15)."""

import os
import random
import signal
import time

from hermes_node import Mesh, until
from netns import Load

SECONDS = float(os.environ.get("CHAOS_SECONDS", "15"))
WINDOW = 256    # messages of a chat that may be unacknowledged
SHARE = 0.9     # of their rate that neighbours keep
COUNT = 12000   # messages of each neighbour
NEIGHBOURS = 4


def rows(load, prefix=""):
    return {row["chat"]: row for row in load.show()
            if row["chat"].startswith(prefix)}


def finished(load, prefix, count):
    return all(row["acked"] == count
               for row in rows(load, prefix).values())


class Neighbours:
    """Chats of an app with one on the other node, as fast as they can."""

    def __init__(self, mesh):
        self.loads = []
        self.left, self.right = (self.load(node) for node in mesh.nodes)
        self.left.app("sender")
        self.right.app("reader")

    def load(self, node):
        self.loads.append(Load(node))
        return self.loads[-1]

    def meet(self, prefix):
        for i in range(NEIGHBOURS):
            chat = f"{prefix}-{i}"
            self.left.chat("sender", chat, "reader", 0, COUNT, 256)
            self.right.chat("reader", chat, "sender", 0, 1, 256)
        until("ready", lambda: all(
            row["ready"] for row in rows(self.left, prefix).values()))

    def rate(self, prefix):
        """Messages a second, once all of them are there."""
        until("all acknowledged",
              lambda: finished(self.left, prefix, COUNT), 240)
        until("all received", lambda: all(
            row["received"] == COUNT
            for row in rows(self.right, prefix).values()))
        for row in list(rows(self.left, prefix).values()) + list(
                rows(self.right, prefix).values()):
            assert row["wrong"] == 0 and row["gaps"] == 0, row
        self.left.say("stop")
        return NEIGHBOURS * COUNT / max(
            row["seconds"] for row in rows(self.left, prefix).values())

    def end(self):
        for load in self.loads:
            load.end()


def race(groups, prefix):
    """The rate of each, all at the same time: whatever else the machine has
    to do, it does to all of them."""
    for group in groups:
        group.meet(prefix)
    for group in groups:
        group.left.say("go")
    return [group.rate(prefix) for group in groups]


def test_L24_one_stuck_chat_slows_no_other(frail):
    """The stuck chat is of the same app and on the same stream between the
    nodes; the app at its other end is stopped. Other nodes have none."""
    with Mesh(2) as other:
        groups = [Neighbours(frail), Neighbours(other)]
        try:
            stuck_beside(frail, groups)
        finally:
            for group in groups:
                group.end()


def stuck_beside(frail, groups):
    left, stuck = groups[0].left, groups[0].load(frail[1])
    stuck.app("sleeper")
    left.chat("sender", "stuck", "sleeper", 0, 0, 1024)
    stuck.chat("sleeper", "stuck", "sender", 0, 1, 16)
    until("ready", lambda: rows(left, "stuck")["stuck"]["ready"])
    stuck.lines.process.send_signal(signal.SIGSTOP)
    left.say("go")
    last = [-1, 0.0]

    def flight():
        """Messages that the node took and has not acknowledged."""
        return next(row["accepted"] for row in frail[0].show("chats")
                    if row["chat_id"] == "stuck") - last[0]

    def full():
        """The window is, and has not moved for a second."""
        row = rows(left, "stuck")["stuck"]
        if row["acked"] != last[0]:
            last[:] = row["acked"], time.monotonic()
        return flight() == WINDOW and time.monotonic() - last[1] > 1
    until("the stuck chat has its window full", full)
    # A busy machine may spoil a run, but not every one.
    for i in range(5):
        beside, alone = race(groups, f"race{i}")
        print(f"neighbours: {alone:.0f}/s alone, {beside:.0f}/s beside a "
              f"stuck chat: {100 * beside / alone:.0f} %")
        if beside >= SHARE * alone:
            break
    row = rows(left, "stuck")["stuck"]
    assert row["acked"] == last[0] and flight() == WINDOW, row
    stuck.lines.process.send_signal(signal.SIGCONT)
    left.say("stop")
    until("all of it delivered", lambda: (
        rows(left, "stuck")["stuck"]["acked"] ==
        rows(left, "stuck")["stuck"]["sent"] ==
        rows(stuck, "stuck")["stuck"]["received"]))
    assert rows(stuck, "stuck")["stuck"]["wrong"] == 0
    assert beside >= SHARE * alone, (
        f"{beside:.0f} of {alone:.0f} messages a second")


def start(node, mine, others, every):
    load = Load(node)
    for seed in mine:
        load.app(seed)
        for other in others:
            load.chat(seed, "-".join(sorted((seed, other))), other, every, 0,
                      700)
    load.say("go")
    return load


def test_L29_apps_and_streams_killed_at_random(frail):
    """A process of apps is killed, a stream broken, a chat deleted, at any
    moment under load; no process of a node dies, and chats that nobody hurt
    lose nothing."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    lefts = [f"left{i}" for i in range(4)]
    rights = [f"right{i}" for i in range(4)]
    make = [lambda i=i: start(frail[0], [lefts[i]], rights, 5 * i)
            for i in range(4)]
    make += [lambda i=i: start(frail[1], [rights[i]], lefts, 5 * i)
             for i in range(4)]
    names = lefts + rights
    calm = [start(frail[0], ["calm0"], ["calm1"], 5),
            start(frail[1], ["calm1"], ["calm0"], 5)]
    loads = [one() for one in make]
    done = {"kill": 0, "drop": 0, "delete": 0}
    try:
        end = time.monotonic() + SECONDS
        # On a slow machine there is time for few of them: each at least once.
        while time.monotonic() < end or not all(done.values()):
            victim = dice.randrange(len(loads))
            what = dice.choice(sorted(done))
            if what == "kill":
                loads[victim].end()
                loads[victim] = make[victim]()
            elif what == "drop":
                loads[victim].say(f"drop {names[victim]}")
            else:
                row = dice.choice(loads[victim].show())
                loads[victim].say(f"delete {row['app']} {row['chat']}")
            done[what] += 1
            before = sum(r["acked"] for load in calm for r in load.show())
            until("the calm chat goes on", lambda: sum(
                r["acked"] for load in calm for r in load.show()) > before)
        print(done)
        for load in calm:
            load.say("stop")
        until("all of the calm chat", lambda: all(
            a["sent"] == a["acked"] == b["received"]
            for a, b in ((calm[0].show()[0], calm[1].show()[0]),
                         (calm[1].show()[0], calm[0].show()[0]))))
        for load in calm:
            row = load.show()[0]
            assert row["wrong"] == row["gaps"] == 0 and row["gone"] == ""
            assert row["connects"] == 1, "its stream was broken too"
        for node in frail.nodes:
            assert node.healthy(), node.ctl("status", ok=False)
        # And all of them can still talk.
        before = [sum(r["acked"] for r in load.show()) for load in loads]
        until("everybody goes on", lambda: all(
            sum(r["acked"] for r in load.show()) > then
            for load, then in zip(loads, before)))
    finally:
        for load in loads + calm:
            load.end()
