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
from hermes_wire import Closed, Identity, Session, meet

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
            [("0", 12000), ("0.001", 800), ("0.003", 400)])
        self.whats = [pick.choice(PROCESSES + NODES)]
        if pick.random() < 0.4:
            self.whats.append(pick.choice(PROCESSES))
        # While there is much to come: who is told of an end, and when, is
        # another question.
        self.whens = sorted(pick.randrange(1, min(1500, self.count // 2))
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
            assert victim.process.wait(LONG) != 0
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
            # Ready it is only when it sees the other one.
            if not self.together:
                until(f"{node.name} healthy",
                      lambda: node.http("/healthz")[0] == 200)
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


class App:
    """A session that comes and goes; it knows what it sent and got."""

    def __init__(self, mesh, place, chat):
        self.mesh, self.place, self.chat = mesh, place, chat
        self.session = None
        self.identity = Identity()
        self.sent, self.got = 0, []

    def connect(self):
        self.session = Session(self.mesh[self.place].app)
        self.session.identity = self.identity
        self.session.connect()
        return self

    def leave(self):
        self.session.close()

    def say(self, first, last):
        for i in range(first, last + 1):
            self.session.message(self.chat, i, b"%s %d" % (
                self.identity.id[:8].encode(), i))
        self.sent = max(self.sent, last)

    def hear(self, other, last):
        """All of other's messages up to last, each once and in order."""
        while len(self.got) < last:
            self.got.append(self.session.received(self.chat, timeout=60))
        assert self.got == [(i, b"%s %d" % (other.identity.id[:8].encode(),
                                            i)) for i in range(1, last + 1)]

    def resume(self, other, **fields):
        self.session.start(self.chat, other.identity, resume=True, **fields)


@pytest.mark.parametrize("dies", ["nobody", "node 0", "node 1", "both"])
@pytest.mark.parametrize("first", [0, 1], ids=["anna-first", "bert-first"])
def test_L42_one_stays_away_while_the_other_sends(mesh, dies, first):
    """bert left in good order; anna fills her window; nodes die; both come
    back in either order, the second one when the first already asked."""
    chat = f"away-{first}-{dies.replace(' ', '')}"
    anna, bert = (App(mesh, i, chat).connect() for i in (0, 1))
    meet(anna.session, bert.session)
    for app, other in ((anna, bert), (bert, anna)):
        app.session.start(chat, other.identity)
    for app in (anna, bert):
        app.session.wait_ready(chat)
    anna.say(1, 10)
    bert.say(1, 10)
    bert.hear(anna, 10)
    anna.hear(bert, 10)
    for app in (anna, bert):
        app.session.acked(chat, 10)
    bert.leave()
    anna.session.wait("chat_status", lambda s: s.status == "peer_away")
    anna.say(11, 10 + WINDOW)
    anna.session.ping()
    before = [version(node, chat) for node in mesh.nodes]
    dead = {"nobody": [], "node 0": [0], "node 1": [1], "both": [0, 1]}[dies]
    for i in dead:
        mesh[i].sigkill()
    for i in dead:
        mesh[i].spawn()
    for i in dead:
        mesh[i].wait_ready()
    if 0 in dead:
        with pytest.raises(Closed):
            anna.session.wait("challenge")
    anna.leave()
    apps = [anna, bert]
    one, two = apps[first], apps[1 - first]
    one.connect().resume(two)
    # Nothing to be had yet, and nothing wrong.
    one.session.ping()
    assert one.session.none("error")
    two.connect()
    meet(anna.session, bert.session)
    two.resume(one)
    acks = [app.session.wait_ready(chat, timeout=60) for app in apps]
    assert all(ack.resumed for ack in acks)
    now = acks[0].key_version
    assert acks[1].key_version == now
    assert all(now > v for v in before) if dead else now >= before[0]
    # anna goes on where her node says, which is after what bert has.
    assert acks[1].next_receive_sequence == 11
    assert acks[1].next_send_sequence == 11
    assert acks[0].next_receive_sequence == 11
    assert 11 <= acks[0].next_send_sequence <= 11 + WINDOW
    if 0 not in dead:
        assert acks[0].next_send_sequence == 11 + WINDOW  # kept for her
    anna.say(acks[0].next_send_sequence, 20 + WINDOW)
    bert.say(11, 20)
    bert.hear(anna, 20 + WINDOW)
    anna.hear(bert, 20)
    anna.session.acked(chat, 20 + WINDOW)
    bert.session.acked(chat, 20)
    for app in apps:
        assert app.session.none("chat_message")
        assert app.session.none("error")
    anna.session.delete(chat)
    anna.session.deleted(chat)
    for app in apps:
        app.leave()
    for node in mesh.nodes:
        assert [e for e, n in epochs(node).items() if n > 1] == []


@pytest.mark.parametrize("dies", [0, 1])
def test_an_end_is_told_though_a_mesh_process_dies(mesh, dies):
    """It hangs when the chat is deleted, and dies: that of the app that did
    so, before it has told the peer, or the peer's, when the end has reached
    its socket and is unread. Who deleted the chat is gone, so nobody asks for
    it again."""
    chat = f"end{dies}"
    anna, bert = (App(mesh, i, chat).connect() for i in (0, 1))
    meet(anna.session, bert.session)
    anna.session.start(chat, bert.identity)
    bert.session.start(chat, anna.identity)
    for app in (anna, bert):
        app.session.wait_ready(chat)
    os.kill(mesh[dies].pids()["mesh"], signal.SIGSTOP)
    anna.session.delete(chat)
    assert anna.session.deleted(chat) == "deleted"
    anna.leave()
    mesh[dies].kill_process("mesh")
    assert bert.session.deleted(chat, timeout=60) == "deleted_by_peer"
    for i in (0, 1):
        assert version(mesh[i], chat) is None
    bert.leave()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_L48_random_deaths_under_traffic(mesh, number):
    one = Round(mesh, number)
    print(one)
    one.run()


def test_the_deaths_were_under_traffic():
    """Of the rounds above: not after all was over."""
    assert len(HITS) >= ROUNDS
    assert sum(HITS) >= len(HITS) * 3 // 4
