"""Nodes in network namespaces of their own, with wires between them that can
be cut, lose and delay, each way on its own; and a load with full accounting.

It needs root, /dev/net/tun and iproute2, and says so when they are missing.
The packets are carried by regress/cluster/wire.c and not by a bridge with
`tc netem`, as many kernels are built without netem (and a test that needs
it could only fail there)."""

import itertools
import json
import os
import subprocess
import threading

from clock import Clock
from hermes_cli import BUILD
from hermes_node import Node, join, until
from hermes_wire import Identity

LOAD = str(BUILD / "regress/cluster/load")
WIRE = str(BUILD / "regress/cluster/wire")
LONG = 180   # seconds that anything may take on a busy machine
AHEAD = 45   # seconds, of a clock that is wrong
NAMES = ("alpha", "beta", "gamma", "delta", "epsilon")


def need_root():
    """These tests never skip: what is missing is an error."""
    assert os.geteuid() == 0, "network namespaces need root"
    assert os.path.exists("/dev/net/tun"), "the kernel lacks /dev/net/tun"


def sh(*command):
    run = subprocess.run(list(map(str, command)), capture_output=True,
                         text=True)
    assert run.returncode == 0, (command, run.stdout, run.stderr)
    return run.stdout


class Lines:
    """A program that answers each line with a line."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.lock = threading.Lock()

    def ask(self, line):
        with self.lock:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return self.answer(line)

    def answer(self, line=""):
        text = self.process.stdout.readline()
        assert text, (line, "ended", self.process.poll())
        return text.rstrip("\n")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except OSError:
                pass


class Wire:
    """Namespaces with wire0 each, 10.77.0.1 and on. Ends count from 0."""

    def __init__(self, count):
        self.names = [f"hermes-{os.getpid()}-{i}" for i in range(count)]
        self.lines = None
        try:
            for name in self.names:
                sh("ip", "netns", "add", name)
                sh("ip", "-n", name, "link", "set", "lo", "up")
            self.lines = Lines(WIRE, *self.names)
            assert self.lines.answer() == "ok"
            for i, name in enumerate(self.names):
                sh("ip", "-n", name, "addr", "add",
                   f"{self.address(i)}/24", "dev", "wire0")
                sh("ip", "-n", name, "link", "set", "wire0", "up")
        except BaseException:
            self.destroy()
            raise

    @staticmethod
    def address(end):
        return f"10.77.0.{end + 1}"

    def inside(self, end):
        """What goes before a command to run it in there."""
        return ["nsenter", f"--net=/run/netns/{self.names[end]}"]

    def plug(self, end):
        assert self.lines.ask(f"cable {end + 1} 1") == "ok"

    def unplug(self, end):
        """Out in the middle of whatever: the device loses its carrier."""
        assert self.lines.ask(f"cable {end + 1} 0") == "ok"

    def set(self, source, target, cut=0, loss=0, delay=0):
        """One way: loss in per mille, delay in ms."""
        assert self.lines.ask(f"set {source + 1} {target + 1} {cut} {loss} "
                              f"{delay}") == "ok"

    def pairs(self):
        return itertools.permutations(range(len(self.names)), 2)

    def all(self, **what):
        for source, target in self.pairs():
            self.set(source, target, **what)

    def part(self, *sides):
        """Only those of one side hear each other."""
        for source, target in self.pairs():
            self.set(source, target, cut=int(not any(
                source in side and target in side for side in sides)))

    def heal(self):
        self.all()

    def count(self, pairs=None):
        """Packets (passed, dropped) on these ways, or on all."""
        counts = [tuple(map(int, self.lines.ask(
            f"count {a + 1} {b + 1}").split()))
            for a, b in pairs or self.pairs()]
        return tuple(map(sum, zip(*counts)))

    def destroy(self):
        if self.lines is not None:
            self.lines.end()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name],
                           capture_output=True)


class WireNode(Node):
    """A node at one end of the wires. ahead: its clock goes 45 s before."""

    def __init__(self, wire, end, name, extra="", ahead=False):
        prefix = wire.inside(end)
        self.inside = wire.inside(end)
        super().__init__(
            name, extra=extra, prefix=prefix,
            addresses=(f"{wire.address(end)}:7443",
                       f"{wire.address(end)}:7444", "127.0.0.1:8080"))
        if ahead:
            self.prefix = Clock(self.folder, AHEAD).prefix + prefix

    def http(self, path):
        run = subprocess.run(
            self.inside + ["curl", "-s", "-m", "10", "-w", "\n%{http_code}",
                           f"http://{self.admin}{path}"],
            capture_output=True, text=True)
        body, _, status = run.stdout.rpartition("\n")
        return int(status or 0), body


class Load:
    """One regress/cluster/load: apps on one node."""

    def __init__(self, node, inside=()):
        self.node = node
        self.lines = Lines(*inside, LOAD, node.app)

    def app(self, seed):
        assert self.lines.ask(f"app {seed}") == "ok"

    def chat(self, seed, chat, peer, every=0, count=0, size=256):
        """every ms a message of size bytes; 0: as fast as it goes."""
        assert self.lines.ask(
            f"chat {seed} {chat} {peer} {every} {count} {size}") == "ok"

    def say(self, what):
        assert self.lines.ask(what) == "ok", what

    def show(self):
        """Every chat, as counted by its end."""
        return json.loads(self.lines.ask("show"))

    def end(self):
        self.lines.end()


def arrived(rows):
    """Is all that these apps said acknowledged, and counted by their peers?
    What is acknowledged the peer's kernel has: the peer may have yet to read
    it. Where a chat was deleted the peer need not have all."""
    ends = {(row["chat"], row["app"]): row for row in rows}

    def counted(row):
        peer = ends[row["chat"], row["peer"]]
        return row["ends"] or row["acked"] == peer["received"] + peer["gaps"]
    return all(row["sent"] <= row["acked"] + row["abandoned"] and counted(row)
               for row in rows)


class Field:
    """Five nodes, APPS apps on each, and a chat between any two apps and
    some more; every end sends a message each EVERY ms."""

    APPS = 4
    MORE = 10   # second chats
    EVERY = 1000
    SIZE = 2000  # bytes: more than one packet

    def __init__(self, extra="", ahead=()):
        need_root()
        self.nodes, self.loads, self.wire = [], [], None
        try:
            self.wire = Wire(len(NAMES))
            self.nodes = [WireNode(self.wire, i, name, extra, i in ahead)
                          for i, name in enumerate(NAMES)]
            for node in self.nodes:
                node.spawn()
            for node in self.nodes:
                node.wait_ready()
            join(*self.nodes)
            self.plan()
        except BaseException:
            for node in self.nodes:
                print(f"--- {node.name}\n{node.log()[-4000:]}")
            self.destroy()
            raise

    def plan(self):
        self.loads = [Load(node, self.wire.inside(i))
                      for i, node in enumerate(self.nodes)]
        self.home = {f"{node.name}-{k}": i for i, node in
                     enumerate(self.nodes) for k in range(self.APPS)}
        self.ids = {Identity(seed).id: seed for seed in self.home}
        pairs = list(itertools.combinations(self.home, 2))
        chats = [(f"c-{a}-{b}", a, b) for a, b in pairs]
        chats += [(f"d-{a}-{b}", a, b) for a, b in
                  pairs[::len(pairs) // self.MORE][:self.MORE]]
        self.chats = chats
        for seed, i in self.home.items():
            self.loads[i].app(seed)
        for chat, a, b in chats:
            for one, other in ((a, b), (b, a)):
                self.loads[self.home[one]].chat(
                    one, chat, other, self.EVERY, 0, self.SIZE)

    def say(self, what):
        for load in self.loads:
            load.say(what)

    def show(self, among=None):
        """{(app, chat): row} of chats whose both ends are on these nodes."""
        ends = set(range(len(self.nodes)) if among is None else among)
        return {(row["app"], row["chat"]): row
                for i in sorted(ends) for row in self.loads[i].show()
                if self.home[row["peer"]] in ends}

    def progress(self, among=None, timeout=LONG, times=2):
        """Until every chat of these had messages acknowledged and received,
        in both directions."""
        before = self.show(among)
        last = {}

        def moved():
            now = self.show(among)
            last["late"] = [
                (key, before[key]["acked"], row) for key, row in now.items()
                if row["acked"] < before[key]["acked"] + times or
                row["received"] < before[key]["received"] + times]
            return not last["late"]
        try:
            until("progress", moved, timeout)
        except AssertionError:
            raise AssertionError(
                f"{len(last['late'])} of {len(before)} ends of chats do not "
                f"go on: {last['late'][:3]}") from None

    def states(self, node):
        return {row["node_id"]: row["state"]
                for row in self.nodes[node].show("nodes")}

    def wait_states(self, at, of, states, timeout=LONG):
        """Until the nodes `at` believe of the nodes `of` one of states."""
        for i in at:
            until(f"{NAMES[i]} sees {[NAMES[j] for j in of]} as {states}: "
                  f"{self.states(i)}", lambda: all(
                      self.states(i)[NAMES[j]] in states
                      for j in of if j != i), timeout)

    def all_alive(self, timeout=LONG):
        every = range(len(self.nodes))
        self.wait_states(every, every, ("alive",), timeout)

    def apps(self, node):
        return {(self.ids[row["app_id"]], row["node_id"])
                for row in self.nodes[node].show("apps")}

    def destroy(self):
        for load in self.loads:
            load.end()
        for node in self.nodes:
            node.destroy()
        if self.wire is not None:
            self.wire.destroy()
