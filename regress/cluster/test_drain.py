"""Leaving in order: what apps, peers and operators see of a node that is
drained, and a rolling restart under load that loses nothing."""

import signal

import pytest

from hermes_cli import Cli
from hermes_node import Mesh, until, wait_alive
from test_kill import LONG, Talk, no_keys_left
from test_monitor import Monitor


@pytest.fixture
def trio():
    with Mesh(3) as three:
        yield three


def drain(node):
    run = node.ctl_run("drain")
    assert run.returncode == 0, run.stderr


def sigterm(node):
    node.process.send_signal(signal.SIGTERM)


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
            assert beta.process.wait(60) == 0
            for watch in (one, two):
                watch.wait("leave", node_id="beta")
                assert not any(event.get("node_id") == "beta" and
                               event["event"] in ("fail", "suspect")
                               for event in watch.events)
        for app in apps:
            app.wait("GO_AWAY shutdown")
            app.wait("DISCONNECTED")
    finally:
        for app in apps:
            app.kill()
    for node in (alpha, gamma):
        assert [row["state"] for row in node.show("nodes")
                if row["node_id"] == "beta"] == ["left"]
        assert node.http("/readyz")[0] == 200
    assert "process_died" not in beta.log()
    assert "shutdown_late" not in beta.log()
    beta.start()
    for node in trio.nodes:
        wait_alive(node, 3)


def test_L43_rolling_restart_under_load(trio):
    """Each node in turn drained and started again, chats between all of
    them: every message once and in order."""

    class Pair:
        def __init__(self, *nodes):
            self.nodes = nodes

        def __getitem__(self, index):
            return self.nodes[index]

    a, b, c = trio.nodes
    with Talk(Pair(a, b), "roll-ab", 2500) as one, \
            Talk(Pair(b, c), "roll-bc", 2500) as two, \
            Talk(Pair(c, a), "roll-ca", 2500) as three:
        talks = (one, two, three)
        for talk in talks:
            talk.under_way(30)
        for node in trio.nodes:
            assert all(talk.anna.count("RECEIVED") < talk.count
                       for talk in talks)  # still under load
            before = [talk.anna.count("RECEIVED") for talk in talks]
            drain(node)
            assert node.process.wait(60) == 0
            node.start()
            for other in trio.nodes:
                wait_alive(other, 3)
            for talk, count in zip(talks, before):
                until("it goes on", lambda: talk.anna.count("RECEIVED") >=
                      min(talk.count, count + 20), LONG)
        for talk in talks:
            talk.finish()
    for node in trio.nodes:
        assert "shutdown_late" not in node.log()
    no_keys_left(trio)
