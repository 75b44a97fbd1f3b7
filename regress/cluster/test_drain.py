"""Leaving in order: what apps, peers and operators see of a node that is
drained, and a rolling restart under load that loses nothing."""

import contextlib
import itertools
import signal

import pytest

from hermes_cli import Cli
from hermes_node import START, Mesh, until, wait_alive
from netns import Load, arrived
from test_kill import LONG
from test_monitor import Monitor


# Whoever has not ended in it is late, and that is a fault: long, on a busy
# machine. To tell many apps takes a quarter of it.
GRACE = "mesh drain grace {}\n"


@pytest.fixture
def trio():
    with Mesh(3, extra=GRACE.format("30s")) as three:
        yield three


def drain(node):
    run = node.ctl_run("drain")
    assert run.returncode == 0, run.stderr


def sigterm(node):
    node.process.send_signal(signal.SIGTERM)


def events(watch, name):
    return [event["event"] for event in list(watch.events)
            if event.get("node_id") == name]


def left(watch, name):
    """It said that it leaves, and nobody called it failed. Before that, a
    busy machine may have made one suspect it."""
    watch.wait("leave", node_id=name)
    seen = events(watch, name)
    assert "fail" not in seen
    assert "suspect" not in seen[seen.index("leave"):]


@pytest.mark.parametrize("how", [drain, sigterm])
def test_drained(trio, how):
    """Apps are asked to leave, the mesh is left, exit 0; nobody calls it
    failed."""
    alpha, beta, gamma = trio.nodes
    apps = [Cli("recv", beta.app, f"drain-{i}", "--stay") for i in range(40)]
    try:
        for app in apps:
            app.wait("CONNECTED")
        with Monitor(alpha) as one, Monitor(gamma) as two:
            how(beta)
            assert beta.process.wait(START) == 0
            for watch in (one, two):
                left(watch, "beta")
        for app in apps:
            app.wait("GO_AWAY shutdown")
            app.wait("DISCONNECTED")
    finally:
        for app in apps:
            app.kill()
    for node in (alpha, gamma):
        assert [row["state"] for row in node.show("nodes")
                if row["node_id"] == "beta"] == ["left"]
        # On a busy machine its peer may be suspected for a moment.
        until("it is ready", lambda: node.http("/readyz")[0] == 200)
    assert "process_died" not in beta.log()
    assert "shutdown_late" not in beta.log()
    beta.start()
    for node in trio.nodes:
        wait_alive(node, 3)


def test_L43_rolling_restart_of_five_nodes_under_load():
    """Each node in turn drained and started again, a chat between every two
    apps on different nodes, both ends sending all the while: every message
    of every chat is acknowledged, and was received once and in order."""
    with Mesh(5, extra=GRACE.format("2m")) as five, \
            contextlib.ExitStack() as stack:
        homes = {f"roll-{i}": i for i in range(5)}
        loads = []
        for i, node in enumerate(five.nodes):
            loads.append(Load(node))
            stack.callback(loads[i].end)
            loads[i].app(f"roll-{i}")
        chats = [(f"{a}-{b}", a, b) for a, b in
                 itertools.combinations(homes, 2)]
        for chat, a, b in chats:
            for one, other in ((a, b), (b, a)):
                loads[homes[one]].chat(one, chat, other, 20, 0, 256)

        def rows():
            return {(row["app"], row["chat"]): row
                    for load in loads for row in load.show()}

        def goes_on(what):
            before = rows()
            until(f"every chat goes on {what}", lambda: all(
                row["acked"] > before[key]["acked"] + 5 and
                row["received"] > before[key]["received"] + 5
                for key, row in rows().items()), LONG)
        until("all ready", lambda: all(
            row["ready"] for row in rows().values()))
        for load in loads:
            load.say("go")
        goes_on("at first")
        for node in five.nodes:
            with Monitor(five[(five.nodes.index(node) + 1) % 5]) as watch:
                drain(node)
                assert node.process.wait(START) == 0
                left(watch, node.name)
                node.start()
                for other in five.nodes:
                    wait_alive(other, 5)
                assert "fail" not in events(watch, node.name)
            goes_on(f"after {node.name}")
        for load in loads:
            load.say("stop")
        until("all arrived", lambda: arrived(rows().values()), LONG)
        now = rows()
        assert len(now) == 2 * len(chats) == 20
        for chat, a, b in chats:
            for one, other in ((a, b), (b, a)):
                row, peer = now[one, chat], now[other, chat]
                assert row["gone"] == "" and row["wrong"] == 0, row
                assert row["gaps"] == 0 and peer["first"] == 1, (row, peer)
                assert row["sent"] == row["acked"] == peer["received"] > 50, (
                    row, peer)
        for node in five.nodes:
            assert "shutdown_late" not in node.log()
            assert "process_died" not in node.log()
