#!/usr/bin/python3
"""make bench-abuse: what rate a chat between two nodes keeps while a client
abuses one of them. Each attack of h2_floods, on each listener, beside three
loads: none, PACED messages a second, as many as go. For each, in turns that
begin with another one each time, and in one run: a, calm; b, the same
attacker, sending the same to a server that takes TLS connections, reads and
does nothing else (what the attacker and the kernel cost this machine); c, the
attack. Medians of the turns.

The attacker is tied to one core; each attack comes from an address that the
node has not seen. "cpu" is what the attack makes both nodes use, in parts of
one core: without a load just that; with one, their time beside what the chat
took when it was calm, which is less exact. Prints a table, as FILE in JSON
too. Nothing is judged here; a message lost or out of order ends the run.

    abuse.py [--turns N] [--json FILE] [--load LOAD] [ATTACK ...]
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import types

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

import h2_floods  # noqa: E402
import hermes_node  # noqa: E402
import mesh_bench  # noqa: E402
import nats  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
PROGRAMS = BUILD / "regress" / "bench"
hermes_node.DEFAULTS = hermes_node.DEFAULTS.replace("debug", "info")
EXTRA = "limits {\n\tmessages per second 0\n}\n"
CORE = 1         # of the attacker
PACED = 2000     # messages a second
FULL = 300000    # messages of a round, as fast as they go
QUIET = 2        # seconds of a round without messages
MANY = 250       # sources of an attack that has many
LOADS = {"none": None, "paced": (PACED, PACED), "full": (FULL, 0)}
numbers = itertools.count(1)


class Honest:
    """One chat, in rounds."""

    def __init__(self, mesh):
        self.mesh = mesh
        self.process = subprocess.Popen(
            [PROGRAMS / "hermes_bench", mesh[0].app, mesh[1].app, "1", "0",
             "256", "0", "bursts"], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)

    def stop(self):
        """It ends, and its receivers with it, when nothing more is asked."""
        self.process.stdin.close()
        self.process.wait(60)

    def cpu(self):
        return sum(sum(mesh_bench.cpu(n).values()) for n in self.mesh.nodes)

    def round(self, load):
        """Its rate, slowest hundredth in ms, CPU seconds of both nodes, and
        how long it took."""
        used, begun = self.cpu(), time.monotonic()
        answer = self._talk(LOADS[load])
        took = time.monotonic() - begun
        return {**answer, "cpu": self.cpu() - used, "took": took}

    def _talk(self, load):
        if load is None:
            time.sleep(QUIET)  # what is measured is a time
            return {"rate": 0, "p99_ms": 0}
        self.process.stdin.write("%d %d\n" % load)
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("the chat broke\n" +
                             self.mesh[0].log()[-4000:])
        return json.loads(answer)


@contextlib.contextmanager
def sink():
    with tempfile.TemporaryDirectory() as folder:
        nats.make_certificate(folder)
        with subprocess.Popen([PROGRAMS / "sink", folder], text=True,
                              stdout=subprocess.PIPE) as process:
            address = f"127.0.0.1:{int(process.stdout.readline())}"
            yield types.SimpleNamespace(app=address, mesh=address)
            process.kill()


@contextlib.contextmanager
def attacked(name, target, listener, many):
    n = next(numbers)
    sources = [f"127.{1 + n // 250}.{1 + n % 250}.{i}"
               for i in range(1, MANY if many else 2)]

    def run():
        os.sched_setaffinity(0, {CORE % os.cpu_count()})
        h2_floods.attack(name, target, listener, sources)
    process = multiprocessing.get_context("fork").Process(
        target=run, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def counted(node, listener):
    """What was cut and what was turned away at the door."""
    all_ = {k: v for k, v in node.metrics().items()
            if k.startswith(f'hermes_rpc_abuse_total{{listener="{listener}"')}
    away = sum(v for k, v in all_.items()
               if 'kind="penalty"' in k or 'kind="handshakes"' in k)
    return sum(all_.values()) - away, away


def middle(rounds, key):
    return statistics.median(r[key] for r in rounds)


def stolen(calm, rounds):
    """Parts of a core that the nodes used beside the chat's own."""
    each = middle(calm, "cpu")  # a round is as many messages each time
    return statistics.median((r["cpu"] - each) / r["took"] for r in rounds)


def measure(mesh, honest, machine, name, load, turns, many):
    calm = []
    control, under = ({"app": [], "mesh": []} for _ in range(2))
    before = {where: counted(mesh[0], where) for where in under}
    quiet = contextlib.nullcontext()
    rounds = [(calm, lambda: quiet)]
    for to, target in (control, machine), (under, mesh[0]):
        rounds += [(to[where], lambda target=target, where=where:
                    attacked(name, target, where, many))
                   for where in to if to is under or load != "none"]
    for turn in range(turns):
        # What went before is not always the same.
        for into, attacker in rounds[turn % len(rounds):] + \
                rounds[:turn % len(rounds)]:
            with attacker():
                into.append(honest.round(load))
    a = b = None
    for where, rounds in under.items():
        if load != "none":
            a, b = (middle(of, "rate") for of in (calm, control[where]))
        c = middle(rounds, "rate")
        cut, away = (x - y for x, y in zip(counted(mesh[0], where),
                                           before[where]))
        yield {"attack": name + (f", {MANY} sources" if many else ""),
               "listener": where, "load": load, "calm": a, "control": b,
               "attack_rate": c, "kept": a and c / a, "kept_of_control": b and c / b,
               "p99_ms_calm": middle(calm, "p99_ms"),
               "p99_ms": middle(rounds, "p99_ms"),
               "cpu": stolen(calm, rounds), "cut": cut, "turned_away": away}


HEAD = (f"{'attack':32} {'door':5} {'load':5} {'cpu':>6} {'calm':>7} "
        f"{'control':>7} {'attack':>7} {'c/a':>5} {'c/b':>5} {'p99 ms':>13} "
        f"{'cut':>6} {'away':>7}")


def show(r):
    rates = f"{'':49}"
    if r["kept"]:
        late = (f"{r['p99_ms_calm']:5.1f} > {r['p99_ms']:5.1f}"
                if r["load"] == "paced" else "")
        rates = (f"{r['calm']:7.0f} {r['control']:7.0f} "
                 f"{r['attack_rate']:7.0f} {r['kept']:5.0%} "
                 f"{r['kept_of_control']:5.0%} {late:>13}")
    print(f"{r['attack']:32} {r['listener']:5} {r['load']:5} {r['cpu']:6.1%} "
          f"{rates} {r['cut']:6.0f} {r['turned_away']:7.0f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--json")
    parser.add_argument("--many", action="store_true",
                        help=f"each attack from {MANY} sources too")
    parser.add_argument("--load", action="append", choices=LOADS,
                        help="only this one; again for another")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK")
    options = parser.parse_args()
    rows = []
    print(HEAD)
    with hermes_node.Mesh(2, EXTRA) as mesh, sink() as machine:
        honest = Honest(mesh)
        for name in options.attacks or h2_floods.ATTACKS:
            for load, many in itertools.product(
                    options.load or LOADS, (False, True) if options.many else (False,)):
                for one in measure(mesh, honest, machine, name, load,
                                   options.turns, many):
                    rows.append(one)
                    show(one)
        honest.stop()
        if not all(node.healthy() for node in mesh.nodes):
            raise SystemExit("a node is not well")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
