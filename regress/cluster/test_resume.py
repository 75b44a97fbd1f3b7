"""Restart and resume: SIGKILL of processes, of nodes and of both nodes at
seeded random instants under traffic in both directions, with apps that come
back in any order and after any delay. Every message of both sides is counted
(L47), a restart is a new process (L48), any order of return resumes (L41) and
an app that is away loses nothing (L42).

SEED=text ROUNDS=number in the environment: other rounds, or more. The seed is
printed when a round fails; the same seed makes the same choices."""

import collections
import os
import random
import re
import signal
import threading

import pytest

from hermes_cli import Cli
from hermes_node import Mesh, until
from hermes_wire import Session, meet

SEED = os.environ.get("SEED", "hermes")
ROUNDS = int(os.environ.get("ROUNDS", "20"))
LONG = 120
WINDOW = 256

PROCESSES = [f"{name} {i}" for name in ("router", "mesh", "control")
             for i in (0, 1)]
HITS = []  # for each death: were messages still on their way?
NODES = ["node 0", "node 1", "keyd 0", "keyd 1", "both"]


@pytest.fixture(scope="module")
def mesh():
    with Mesh(2) as two:
        yield two


def epochs(node):
    """How often each epoch of each chat was put in force at a node, in all
    its lives: twice would be a counter used again."""
    return collections.Counter(re.findall(
        r"epoch handle=(\w+) side=(\d) version=(\d+)", node.log()))


def version(node, chat):
    rows = [r for r in node.show("ratchets") if r["chat_id"] == chat]
    return rows[0]["key_version"] if rows else None


class Round:
    """anna at one node sends, bert at the other sends each message back;
    hermes(1) checks sequence and content of all."""

    def __init__(self, mesh, number):
        self.random = random.Random(f"{SEED}-{number}")
        self.mesh = mesh
        self.chat = f"resume-{number}"
        places = [0, 1]
        self.random.shuffle(places)
        self.places = places
        pick = self.random
        self.interval, self.count = pick.choice(
            [("0", 3000), ("0.001", 800), ("0.003", 400)])
        self.whats = [pick.choice(PROCESSES + NODES)]
        if pick.random() < 0.4:
            self.whats.append(pick.choice(PROCESSES))
        self.whens = sorted(pick.randrange(1, self.count * 3 // 4)
                            for _ in self.whats)
        # Which apps sleep over it, and who wakes up first.
        self.asleep = [i for i in (0, 1) if pick.random() < 0.4]
        pick.shuffle(self.asleep)
        self.spawn_order = [0, 1]
        pick.shuffle(self.spawn_order)
        self.together = pick.random() < 0.5

    def __str__(self):
        return (f"SEED={SEED} {self.chat}: {self.whats} at {self.whens}, "
                f"interval {self.interval}, anna at {self.places[0]}, "
                f"asleep {self.asleep}, back {self.spawn_order} "
                f"{'together' if self.together else 'in turn'}")

    def run(self):
        anna, bert = f"{self.chat}-anna", f"{self.chat}-bert"
        at = [self.mesh[i].app for i in self.places]
        with Cli("recv", at[1], bert, "--chat", self.chat, "--check",
                 "--echo", "--stay", "--count", self.count,
                 "--expect-restart", "--timeout", LONG, Cli.id(anna)) as b, \
             Cli("send", at[0], anna, "--chat", self.chat, "--check",
                 "--answers", self.count, "--count", self.count,
                 "--interval", self.interval, "--expect-restart", "--delete",
                 "--timeout", LONG, Cli.id(bert)) as a:
            self.apps = [a, b]
            for what, when in zip(self.whats, self.whens):
                a.wait("RECEIVED", when, timeout=LONG)
                HITS.append(a.count("RECEIVED") < self.count)
                self.strike(what)
            for cli in self.apps:
                os.kill(cli.process.pid, signal.SIGCONT)
            self.finish(a, b)

    def strike(self, what):
        sleepers = [self.apps[i] for i in self.asleep]
        for cli in sleepers:
            os.kill(cli.process.pid, signal.SIGSTOP)
        before = [version(node, self.chat) for node in self.mesh.nodes]
        name, _, index = what.partition(" ")
        if what == "both":
            self.nodes_die([0, 1])
        elif name == "node":
            self.nodes_die([int(index)])
        elif name == "keyd":
            victim = self.mesh[int(index)]
            os.kill(victim.pids()["keyd"], signal.SIGKILL)
            assert victim.process.wait(30) != 0
            victim.start()
        else:
            self.mesh[int(index)].kill_process(name)
        for cli in sleepers:
            os.kill(cli.process.pid, signal.SIGCONT)
        if name in ("node", "keyd", "both"):
            # What was sealed before opens nothing now.
            until(f"higher versions than {before}", lambda: all(
                new is None or new > old for new, old in zip(
                    [version(n, self.chat) for n in self.mesh.nodes],
                    before)))

    def nodes_die(self, which):
        nodes = [self.mesh[i] for i in self.spawn_order if i in which]
        killers = [threading.Thread(target=node.sigkill) for node in nodes]
        for thread in killers:
            thread.start()
        for thread in killers:
            thread.join()
        assert all(node.killed for node in nodes)
        for node in nodes:
            node.spawn()
            if not self.together:
                node.wait_ready()
        for node in nodes:
            node.wait_ready()

    def finish(self, a, b):
        done = [cli.succeed(LONG) for cli in (a, b)]
        every = list(range(1, self.count + 1))
        for cli in (a, b):
            assert cli.sequences("SENT") == every
            assert cli.sequences("RECEIVED") == every
        assert a.sequences("ACKED") == every
        for numbers in done:
            assert numbers["sent"] == numbers["received"] == self.count
            assert numbers["gaps"] == 0
        for node in self.mesh.nodes:
            until(f"{node.name} erased {self.chat}",
                  lambda: version(node, self.chat) is None)
            twice = [e for e, n in epochs(node).items() if n > 1]
            assert twice == []


@pytest.mark.parametrize("number", range(ROUNDS))
def test_L48_random_deaths_under_traffic(mesh, number):
    one = Round(mesh, number)
    print(one)
    one.run()


def test_the_deaths_were_under_traffic():
    """Of the rounds above: not after all was over."""
    assert len(HITS) >= ROUNDS
    assert sum(HITS) >= len(HITS) * 3 // 4
