"""Five nodes, 200 apps, 2,000 chats, and everything in motion: apps break off,
stay away, come back and move between the nodes, chats end and begin again,
keys change, processes and whole nodes are killed. At the end every message is
accounted for, memory is flat, no descriptor is left open and no key is where
none may be. When it fails, the nodes' logs are left in BUILD. Environment:
SOAK_MINUTES, how long all of it lasts (1);
SOAK_SEED; SOAK_MOVES, how often apps move, break off or are away, or chats
end, for each time that a process or node is killed (5)."""

import itertools
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import time

import pytest

from hermes_node import join, until
from keyscan import House, count, custody, in_files, stopped
from netns import NAMES, Load, arrived

BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
MINUTES = float(os.environ.get("SOAK_MINUTES", "1"))
SEED = int(os.environ.get("SOAK_SEED", random.randrange(1 << 32)))
MOVES = int(os.environ.get("SOAK_MOVES", "5"))
AROUND = 30     # seconds of a minute that begin and end take
APPS = 40       # of each node
CHATS = 2000
EVERY = 8000    # ms between two messages of one end
SIZE = 300
SPARED = 4      # this node's processes are measured, and not killed
NOBODY = "127.0.0.1:9"
LONG = 300      # seconds, on a busy machine
FEW = 4         # descriptors that may be on the way
KEYS = 60000    # that are looked for, the last ones
# A process reaches its size in minutes, and grows no more. Of the node that is
# measured, that is with every chat in its tables, where an app leaves its own
# when it moves on: 2 * CHATS sides, each 1.2 KB in keyd, 0.7 in router and 0.3
# in mesh; keyd's tombstones of the chats that ended, 80 bytes each, no more
# than there are sides; the pages of its store, of which Berkeley DB keeps 32
# MiB at most. Buffers of the doors double now and then, up to 4 MiB each way:
# a step, which the slope leaves out. Runs that measure less than LASTING
# minutes see only that nothing runs away.
GROWTH, LASTING = 8 << 20, 10
PER_MINUTE = {"parent": 4 << 10, "control": 16 << 10, "router": 32 << 10,
              "mesh": 128 << 10, "keyd": 128 << 10}
CONFIG = """
rekey {
\tlimit 1000
\twindow 1s
}
limits {
\tper source 1000
\tstarts per minute 100000
}
keystore {
\terase interval 2s
}
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def memory(pid):
    """Bytes of a process that are its own."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return 1024 * sum(int(n) for n in re.findall(
        r"Rss(?:Anon|Shmem):\s+(\d+)", text))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def processes(node):
    return {"parent": node.process.pid, **node.pids()}


def slope(samples):
    """Bytes a minute: the median of what any two of (seconds, bytes) say."""
    return statistics.median(
        60 * (b - a) / (t - s)
        for (s, a), (t, b) in itertools.combinations(samples, 2))


def lasting():
    """Does this run measure for minutes?"""
    return MINUTES * 2 / 3 >= LASTING


class Soak:
    """The nodes, the loads and what is done to them."""

    def __init__(self):
        self.nodes, self.loads = [], []
        self.dice = random.Random(SEED)
        self.done = {}
        self.away = []
        self.samples = {}

    def begin(self):
        for name in NAMES:
            self.nodes.append(House(name, extra=CONFIG))
            self.nodes[-1].spawn()
        for node in self.nodes:
            node.wait_ready()
        join(*self.nodes)
        self.loads = [Load(node) for node in self.nodes]
        self.home = {f"{node.name}-{k}": i for i, node in
                     enumerate(self.nodes) for k in range(APPS)}
        for seed, i in self.home.items():
            self.loads[i].app(seed)
        # Of two nodes, so that the mesh has to do with them.
        pairs = [(a, b) for a, b in itertools.combinations(self.home, 2)
                 if self.home[a] != self.home[b]]
        for n, (a, b) in enumerate(self.dice.sample(pairs, CHATS)):
            for one, other in ((a, b), (b, a)):
                self.loads[self.home[one]].chat(one, f"chat-{n}", other,
                                                EVERY, 0, SIZE)
        self.all_ready()
        for load in self.loads:
            load.say("go")
        until("every chat talks", lambda: all(
            row["acked"] and row["received"]
            for row in self.rows().values()), LONG)

    def all_ready(self):
        until("all chats ready", lambda: all(
            row["ready"] for row in self.rows().values()), LONG)

    def visit(self):
        """Every app has been at the node that is measured."""
        for seed, i in self.home.items():
            self.loads[i].say(f"move {seed} {self.nodes[SPARED].app}")
        self.all_ready()
        self.go_home()
        self.all_ready()

    def go_home(self):
        for seed, i in self.home.items():
            self.loads[i].say(f"move {seed} {self.nodes[i].app}")

    def rows(self):
        """{(chat, app): row} of both ends of every chat."""
        return {(row["chat"], row["app"]): row
                for load in self.loads for row in load.show()}

    def open_now(self):
        return {(node.name, name): descriptors(pid) for node in self.nodes
                for name, pid in processes(node).items()}

    # --- what is done ---------------------------------------------------

    def app(self):
        """Any app: (its load, its seed)."""
        seed = self.dice.choice(list(self.home))
        return self.loads[self.home[seed]], seed

    def breaks_off(self):
        load, seed = self.app()
        load.say(f"drop {seed}")

    def goes_away(self):
        load, seed = self.app()
        load.say(f"move {seed} {NOBODY}")
        self.away.append((load, seed))

    def comes_back(self):
        if self.away:
            load, seed = self.away.pop(0)
            load.say(f"move {seed} {self.dice.choice(self.nodes).app}")

    def moves(self):
        load, seed = self.app()
        load.say(f"move {seed} {self.dice.choice(self.nodes).app}")

    def chat_ends(self):
        load = self.dice.choice(self.loads)
        ready = [row for row in load.show() if row["ready"]]
        if ready:
            row = self.dice.choice(ready)
            load.say(f"delete {row['app']} {row['chat']}")

    def rekey(self):
        self.dice.choice(self.nodes).ctl_run("rekey", "all")

    def victim(self):
        return self.nodes[self.dice.choice(
            [i for i in range(len(self.nodes)) if i != SPARED])]

    def kill_process(self):
        node = self.victim()
        name = self.dice.choice(("router", "mesh", "control", "keyd"))
        pid = node.pids().get(name)
        if pid:
            os.kill(pid, signal.SIGKILL)
        if name == "keyd":
            assert node.process.wait(LONG) != 0
        else:
            until(f"{name} again", lambda: node.process.poll() is not None or
                  node.pids_or_none(name) not in (None, 0, pid), LONG)
        # Five deaths within a minute end a node, as they should.
        if node.process.poll() is not None:
            node.start()

    def kill_node(self):
        node = self.victim()
        node.sigkill()
        node.start()

    def stop_node(self):
        node = self.victim()
        assert node.stop(LONG) == 0
        node.start()

    LIGHT = (breaks_off, goes_away, comes_back, moves, chat_ends)
    HEAVY = (kill_process, kill_process, kill_node, stop_node, rekey)

    def churn(self, seconds):
        """All of it at random; each heavy one at least once."""
        began = time.monotonic()
        due = list(self.HEAVY)
        while due or time.monotonic() - began < seconds:
            for what in self.dice.choices(self.LIGHT, k=MOVES):
                self.do(what)
            if not due:
                due = list(self.HEAVY)
            self.do(due.pop(self.dice.randrange(len(due))))
            self.measure(time.monotonic() - began)

    def do(self, what):
        what(self)
        self.done[what.__name__] = self.done.get(what.__name__, 0) + 1

    def measure(self, at):
        for name, pid in processes(self.nodes[SPARED]).items():
            self.samples.setdefault(name, []).append((at, memory(pid)))

    # --- what must be so ------------------------------------------------

    def settle(self):
        """Everybody at home, nothing under way."""
        self.go_home()
        for load in self.loads:
            load.say("stop")

        def under_way():
            return [row for row in self.rows().values() if not row["ready"] or
                    row["sent"] > row["acked"] + row["abandoned"]]
        try:
            until("all acknowledged", lambda: not under_way(), LONG)
            until("all arrived", lambda: arrived(self.rows().values()), LONG)
        except AssertionError as error:
            bad = under_way()
            raise AssertionError(f"{error}; {len(bad)}: {bad[:3]}") from None

    def account(self):
        """Each message sent was acknowledged, or its chat was deleted."""
        rows = self.rows()
        assert len(rows) == 2 * CHATS
        sent = received = lost = gaps = 0
        for (chat, app), row in rows.items():
            other = rows[chat, row["peer"]]
            both = f"{row}, {other}"
            # not_found: by an app that went away just before it said so.
            assert row["gone"] in ("", "deleted", "deleted_by_peer",
                                   "not_found"), both
            assert row["wrong"] == 0, both
            # Acknowledged is what was written to the peer's stream; when
            # that broke, the peer knows how many it never had.
            assert max(row["acked"], other["received"]) <= row["sent"], both
            assert row["ends"] or row["sent"] == row["acked"] == (
                other["received"] + other["gaps"]), both
            sent += row["sent"]
            received += other["received"]
            lost += row["abandoned"]
            gaps += row["gaps"]
        ends = sum(row["ends"] for row in rows.values())
        print(f"{sent} messages sent, {received} received, {gaps} written to "
              f"streams that broke, {lost} not acknowledged when their chat "
              f"was deleted ({ends} ends)")

    def flat(self):
        bad = []
        for name, samples in sorted(self.samples.items()):
            rest = [s for s in samples if s[0] >= samples[-1][0] / 3]
            minutes = (rest[-1][0] - rest[0][0]) / 60
            limit = PER_MINUTE[name] if lasting() else GROWTH / minutes
            per_minute = slope(rest)
            print(f"{name}: {rest[-1][1] / 2**20:.1f} MiB, "
                  f"{per_minute:+.0f} bytes/min over {minutes:.1f} min")
            if per_minute > limit:
                bad.append(name)
        assert not bad, bad

    def nobody_crashed(self):
        """What died was killed."""
        assert not any(node.crashes() for node in self.nodes), {
            node.name: node.crashes() for node in self.nodes}

    def no_descriptor_left(self, before):
        def more():
            return {key: (before[key], n) for key, n in
                    self.open_now().items() if n > before[key] + FEW}
        try:
            until("descriptors as before", lambda: not more(), LONG)
        except AssertionError:
            raise AssertionError(more()) from None

    def no_key_elsewhere(self):
        for node in self.nodes:
            node.ctl("erase", "--now")
        keys = {}
        for node in self.nodes:
            live, dead = node.journal.keys()
            keys.update(itertools.islice(
                reversed(dead.items()), KEYS // len(self.nodes)))
            keys.update(live)
        with stopped(*self.nodes) as pids:
            wrong, where = custody(self.nodes, pids, keys)
        assert wrong == {} and set(where) == {"keyd"}
        for node in self.nodes:
            own = str(node.config.parent / "passphrase")
            assert count(h for h in in_files(keys, *node.files())
                         if (h.target, h.kind) != (own, "passphrase")) == {}
        print(f"{len(keys)} keys looked for in {len(pids)} processes")

    def destroy(self):
        for load in self.loads:
            load.end()
        for node in self.nodes:
            node.destroy()


def test_soak():
    soak = Soak()
    print(f"seed {SEED}")
    try:
        began = time.monotonic()
        soak.begin()
        before = soak.open_now()
        print(f"ready after {time.monotonic() - began:.0f} s")
        if MINUTES > 1:
            soak.visit()
        soak.churn(60 * MINUTES - AROUND)
        print(soak.done)
        soak.settle()
        soak.account()
        soak.nobody_crashed()
        soak.no_descriptor_left(before)
        soak.flat()
        soak.no_key_elsewhere()
        print(f"{time.monotonic() - began:.0f} s in all")
    except BaseException:
        for node in soak.nodes:
            log = BUILD / f"soak-{node.name}.log"
            shutil.copy(node.log_path, log)
            print(f"--- {log}\n{node.log()[-3000:]}")
        raise
    finally:
        soak.destroy()
