"""Many apps, many chats: rows of make bench from crowd_bench and
stream_bench. Medians of ROUNDS; whatever goes wrong ends the run."""

import collections
import contextlib
import functools
import json
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

import hermes_node
import nats

ROUNDS = 3
LIMITS = """limits {
\tmessages per second 0
\tstarts per minute 1000000
\tchats per app 100000
\tsessions 20000
\tunauthenticated 1000
\thandshakes 0
\tper source 20000
}
"""
# The keys that set-ups leave to be erased are erased by the stop, in one go.
NOT_YET = "keystore erase interval 1h\n"
CORE = "0"         # where sessions and bare handshakes are counted
HANDSHAKES = 400   # a round
SESSIONS = 300     # a round
APPS = 10000       # connected and idle
PAIRS = 8          # of apps that chat
NEW_CHATS = 4000   # a round
CHATS = 100000     # idle
FEW = 10           # chats that talk
MESSAGES = 100000  # a round of theirs
COSTS = 7          # rounds of what a message costs
SETTLES = 15       # seconds that what has just come is still looked after
IDLE = 20          # seconds that idle apps and chats are looked at
STARTS = 300       # seconds to stop or start with CHATS at most


class Crowd:
    """A crowd_bench on two nodes."""

    def __init__(self, program, there, here, pairs, prefix=()):
        self.process = subprocess.Popen(
            [*prefix, program, there, here, str(pairs)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def do(self, *words):
        """Seconds that it took."""
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"crowd_bench ended in {words}")
        return json.loads(answer)["seconds"]


def processes(node):
    return {"parent": node.process.pid, **node.pids()}


def memory(node):
    """Bytes of each process, its share of what is shared, by name."""
    out = {}
    for name, pid in processes(node).items():
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        out[name] = 1024 * sum(int(n) for n in re.findall(
            r"^(?:Pss|SwapPss): +(\d+)", text, re.M))
    return out


def grown(before, after, count):
    """(bytes each, the same by process as text)."""
    each = {name: (after[name] - before[name]) / count for name in after}
    return sum(each.values()), ", ".join(
        f"{name} {size:.0f}" for name, size in sorted(each.items()))


def alone(program, *what, prefix=()):
    """The rounds of stream_bench or trip_bench, by name."""
    with tempfile.TemporaryDirectory() as folder:
        nats.make_certificate(folder)
        out = subprocess.run(
            [*prefix, program, *what[:-1], folder, str(what[-1]),
             str(ROUNDS)],
            check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def bare(*arguments, prefix=()):
    """What libtls alone does a second."""
    return statistics.median(alone(*arguments, prefix=prefix)["rates"])


def known(node, count):
    """Wait until the node's directory has so many apps."""
    hermes_node.until(f"{count} apps in the directory", lambda:
                      node.metric("hermes_mesh_apps") >= count, 600)


def sessions(row, rows, programs):
    """The node, its apps and the bare handshakes on one core each time."""
    pin = ("taskset", "-c", CORE)
    handshakes = bare(programs / "stream_bench", "handshakes", HANDSHAKES,
                      prefix=pin)
    with hermes_node.Node("alpha", extra=LIMITS, prefix=pin) as node:
        node.ctl("mesh", "create")
        with Crowd(programs / "crowd_bench", node.app, node.app, 0,
                   pin) as crowd:
            rates = []
            for done in range(ROUNDS):
                start = time.monotonic()
                crowd.do("apps", SESSIONS)
                known(node, (done + 1) * SESSIONS)
                rates.append(SESSIONS / (time.monotonic() - start))
    row(rows, "new app sessions, one core", statistics.median(rates), "1/s",
        "libtls handshakes, same core", handshakes, 0.5)


def idle_apps(row, rows, programs):
    with hermes_node.Node("alpha", extra=LIMITS) as node:
        node.ctl("mesh", "create")
        with Crowd(programs / "crowd_bench", node.app, node.app, 0) as crowd:
            crowd.do("apps", 100)  # what is allocated once
            known(node, 100)
            before, alone = memory(node), busy([node])[0]
            crowd.do("apps", APPS)
            known(node, APPS + 100)
            each, parts = grown(before, memory(node), APPS)
            time.sleep(SETTLES)
            used = busy([node])[0]
    row(rows, f"memory of one of {APPS} idle apps", each, "B", "", None,
        40 * 1024, False, parts)
    row(rows, f"CPU of {APPS} idle apps", used - alone, "%",
        "a node without apps", None, 1, False)


def busy(nodes):
    """Share of a core that each node uses in IDLE seconds, in per cent."""
    pids = [processes(node).values() for node in nodes]
    before, start = [ran(one) for one in pids], time.monotonic()
    time.sleep(IDLE)
    took = time.monotonic() - start
    return [(ran(one) - old) / took * 100 for one, old in zip(pids, before)]


def ran(pids):
    """CPU seconds of processes, finer than ticks."""
    return sum(int(task.read_text().split()[0]) for pid in pids for task in
               pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def used(nodes):
    """CPU seconds of all, by process."""
    total = collections.Counter()
    for node in nodes:
        for name, pid in processes(node).items():
            total[name] += ran([pid])
    return total


def text(parts, unit):
    return ", ".join(f"{name} {value:.2f}" for name, value in
                     sorted(parts.items())) + f" {unit}"


def message_cost(mesh, crowd):
    """CPU microseconds of both nodes for a message of FEW chats, by
    process."""
    before = used(mesh.nodes)
    crowd.do("messages", MESSAGES, FEW)
    after = used(mesh.nodes)
    return {name: (after[name] - before[name]) / MESSAGES * 1e6
            for name in after}


def message_costs(*meshes):
    """Of each (mesh, crowd): (median of COSTS rounds, by process as text).
    A round of each in turn: the machine is not as fast all the time."""
    costs = [[] for _ in meshes]
    for _ in range(COSTS):
        for of, one in zip(costs, meshes):
            of.append(message_cost(*one))
    for of in costs:
        of.sort(key=lambda parts: sum(parts.values()))
    return [(sum(of[COSTS // 2].values()), text(of[COSTS // 2], "us"))
            for of in costs]


def stop_time(node):
    """Seconds to stop in order, all its records sealed anew; then it runs
    again."""
    start = time.monotonic()
    status = node.stop(STARTS)
    took = time.monotonic() - start
    if status != 0:
        raise SystemExit(f"{node.name} stopped with {status}\n" +
                         node.log()[-2000:])
    ready_again(node)
    return took


def ready_again(node):
    node.spawn()
    hermes_node.until(f"{node.name} ready", lambda:
                      node.http("/readyz")[0] == 200, STARTS)


def start_times(node):
    """Seconds from exec to ready, after SIGKILL, and CPU by process."""
    took = []
    for _ in range(ROUNDS):
        node.sigkill()
        start = time.monotonic()
        ready_again(node)
        took.append((time.monotonic() - start, text(used([node]), "s of CPU")))
    return sorted(took)[ROUNDS // 2]


@contextlib.contextmanager
def talking(mesh, program):
    """PAIRS apps on each of two nodes, and FEW chats that have talked."""
    with Crowd(program, mesh[0].app, mesh[1].app, PAIRS) as crowd:
        crowd.do("pairs")
        crowd.do("chats", FEW)
        crowd.do("messages", MESSAGES // 10, FEW)
        yield crowd


def chats(row, rows, programs):
    nodes = functools.partial(hermes_node.Mesh, 2, extra=LIMITS + NOT_YET)
    program = programs / "crowd_bench"
    with nodes() as mesh:
        with talking(mesh, program) as crowd:
            before = [memory(node) for node in mesh.nodes]
            cpu = used(mesh.nodes).total()
            rates = [NEW_CHATS / crowd.do("chats", NEW_CHATS)
                     for _ in range(ROUNDS)]
            cpu = used(mesh.nodes).total() - cpu
            crowd.do("chats", CHATS - FEW - ROUNDS * NEW_CHATS)
            time.sleep(SETTLES)  # what a set-up needs is given back
            grew = [grown(old, memory(node), CHATS - FEW)
                    for old, node in zip(before, mesh.nodes)]
            idle = busy(mesh.nodes)
            with nodes() as beside, talking(beside, program) as few_crowd:
                (few, few_parts), (many, many_parts) = message_costs(
                    (beside, few_crowd), (mesh, crowd))
        stopped = stop_time(mesh[1])
        took, start_parts = start_times(mesh[0])
    row(rows, "new chats across nodes", statistics.median(rates), "1/s", "",
        None, 2000)
    row(rows, "CPU of a new chat, both nodes",
        cpu / (ROUNDS * NEW_CHATS) * 1e6, "us", "", None, None, False)
    for which, (each, parts) in zip(("asking", "asked"), grew):
        row(rows, f"memory of one of {CHATS} idle chats, {which}", each, "B",
            "", None, 2048, False, parts)
    row(rows, f"CPU of a message, {FEW} chats of {CHATS}", many, "us",
        f"{FEW} chats alone", few, 1.1, False,
        f"{many_parts}; alone {few_parts}")
    row(rows, f"CPU of a node with {CHATS} idle chats", max(idle), "%", "",
        None, 1, False)
    row(rows, f"stop in order, {CHATS} chats", stopped, "s", "", None, 10,
        False)
    row(rows, f"start to ready, {CHATS} stored chats", took, "s", "", None, 5,
        False, start_parts)
