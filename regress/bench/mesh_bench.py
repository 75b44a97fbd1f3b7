"""What a mesh of real nodes takes: rows of make bench. Each figure is the
median of its rounds; anything that goes wrong ends the run."""

import json
import statistics
import subprocess
import time

import hermes_node
import nats
import netns

from hermes_wire import Session, meet

ROUNDS = 3
LOOKUPS = 20000
IDLE = 20   # seconds an idle mesh is looked at
QUIET = 40  # seconds before: exchanges of a start are over


def cpu(node):
    """CPU seconds of each process of a node, by name."""
    out = {"parent": hermes_node.cpu_seconds(node.process.pid)}
    out.update({name: hermes_node.cpu_seconds(pid)
                for name, pid in node.pids().items() if name != "parent"})
    return out


def talk(session, chat, peer):
    """A chat and one message that the peer's node acknowledged."""
    session.start(chat, peer)
    ack = session.wait_ready(chat)
    session.message(chat, ack.next_send_sequence, b"here I am")
    session.acked(chat, ack.next_send_sequence)


def find(session, app):
    while session.find(app)[0] == "unknown":
        time.sleep(0.002)


def join_once(founder, there, number):
    """Seconds from `hermesctl join` on a node that runs to the first message
    of its app acknowledged by an app on the other node."""
    ticket = founder.ctl("ticket", "--ttl", "1h")["ticket"]
    with hermes_node.Node(f"joins-{number}") as node, \
            Session(node.app) as here:
        here.connect()
        start = time.monotonic()
        node.ctl("join", ticket)
        find(here, there.identity)
        talk(here, "first", there.identity)
        return time.monotonic() - start


def join(row, rows):
    with hermes_node.Node("founder") as founder, \
            Session(founder.app) as there:
        founder.ctl("mesh", "create")
        there.connect(auto=True)
        took = [join_once(founder, there, i) for i in range(ROUNDS)]
    row(rows, "join to first message acknowledged",
        statistics.median(took) * 1000, "ms", "", None, None)


def reconnect(node, identity):
    """A session of the app as soon as the node takes it."""
    session = Session(node.app, identity)
    session.connect()
    return session


def fail_over_once(number):
    """Seconds from SIGKILL of an app's node to its first message over the
    same chat through another node, acknowledged."""
    with hermes_node.Mesh(3) as mesh:
        other, moving = Session(mesh[0].app), Session(mesh[1].app)
        other.connect(auto=True)
        moving.connect()
        meet(other, moving)
        chat = f"moves-{number}"
        talk(moving, chat, other.identity)
        start = time.monotonic()
        mesh[1].sigkill()
        moving.wait_closed()
        back = reconnect(mesh[2], moving.identity)
        talk(back, chat, other.identity)
        took = time.monotonic() - start
        for session in (other, moving, back):
            session.close()
        return took


def fail_over(row, rows):
    took = [fail_over_once(i) for i in range(ROUNDS)]
    row(rows, "fail-over: node killed to chat on another",
        statistics.median(took) * 1000, "ms", "", None, None)


def lookups(row, rows, program):
    with hermes_node.Mesh(2) as mesh, Session(mesh[1].app) as app, \
            Session(mesh[0].app) as asks:
        app.connect()
        asks.connect()
        find(asks, app.identity)
        run = subprocess.run(
            [program, mesh[0].app, app.identity.id, str(LOOKUPS),
             str(ROUNDS)],
            capture_output=True, text=True, check=False, timeout=600)
        if run.returncode != 0:
            raise SystemExit(f"find_bench: {run.stderr}")
        rates = json.loads(run.stdout)["rates"]
    row(rows, "directory lookups, app on another node",
        statistics.median(rates), "1/s", "", None, None)


def wire_bytes(wire, end):
    """Bytes that went out of the device of one end, headers and all."""
    link = json.loads(netns.sh("ip", "-n", wire.names[end], "-s", "-j",
                               "link", "show", "wire0"))[0]
    return link["stats64"]["tx"]["bytes"]


def idle(row, rows):
    """Five nodes, each in a network namespace of its own."""
    netns.need_root()
    wire = netns.Wire(len(netns.NAMES))
    nodes = []
    try:
        for i, name in enumerate(netns.NAMES):
            nodes.append(netns.WireNode(wire, i, name))
            nodes[-1].spawn()
        for node in nodes:
            node.wait_ready()
        hermes_node.join(*nodes)
        time.sleep(QUIET)
        shares, rates = [], []
        for _ in range(ROUNDS):
            before = [(sum(cpu(n).values()), wire_bytes(wire, i))
                      for i, n in enumerate(nodes)]
            start = time.monotonic()
            time.sleep(IDLE)
            for i, node in enumerate(nodes):
                seconds = time.monotonic() - start
                sent = wire_bytes(wire, i) - before[i][1]
                used = sum(cpu(node).values()) - before[i][0]
                shares.append(used / seconds * 100)
                rates.append(sent / seconds)
    finally:
        for node in nodes:
            node.destroy()
        wire.destroy()
    row(rows, "idle node in a mesh of 5, CPU", statistics.median(shares),
        "%", "", None, None, False)
    row(rows, "idle node in a mesh of 5, sent", statistics.median(rates),
        "B/s", "", None, None, False)
