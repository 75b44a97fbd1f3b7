"""Connections between nodes: a node keeps few, closes the one not used for
longest, never one that carries chats; and TLS keys that are replaced cut
none."""

import json
import re

from hermes_node import Mesh, Node, until, wait_alive
from hermes_wire import Session
from test_kill import Talk


def probes(node):
    return node.metric("hermes_mesh_heartbeats_total")


def test_few_connections_are_kept_and_everybody_is_reached():
    """Each of five nodes keeps one: it probes all in turn all the same,
    nobody is suspected, and the chats' connections stay. A machine that is
    too busy to answer in time may spoil a round of probes, but not all."""
    with Mesh(5, extra="mesh { connections 1 }\n") as five:
        before = [probes(node) for node in five.nodes]
        most = 0

        def probed():
            nonlocal before, most
            metrics = [node.metrics() for node in five.nodes]
            most = max(most, *(m["hermes_mesh_connections"]
                               for m in metrics))
            assert all(m['hermes_mesh_evicted_peers_total'] == 0
                       for m in metrics)
            beats = [m["hermes_mesh_heartbeats_total"] for m in metrics]
            if any(m['hermes_mesh_nodes{state="alive"}'] != 5
                   for m in metrics):
                before = beats
            return all(now >= then + 9 for now, then in zip(beats, before))
        until("each has probed each, and nobody was suspected", probed, 240)
        # One, and one more between its coming and the other's going.
        assert 1 <= most <= 2
        logs = [len(node.log()) for node in five.nodes]
        with Talk((five[0], five[1]), "one", 400) as one, \
                Talk((five[0], five[2]), "two", 400) as two, \
                Talk((five[3], five[0]), "three", 400) as three:
            for talk in (one, two, three):
                anna, bert = talk.finish()
                assert anna["resent"] == bert["resent"] == 0
        for node, length in zip(five.nodes, logs):
            assert not re.search(
                r"route_down .* chats=[1-9]", node.log()[length:])


def fingerprints(node):
    """How each node's mesh listener proves itself now."""
    from mesh_member import Member, fetch_certificate
    host, port = node.mesh.rsplit(":", 1)
    return fetch_certificate(host, int(port), *Member("looker").x509())


def incarnation(node, name):
    return next(row["incarnation"] for row in node.show("nodes")
                if row["node_id"] == name)


def test_new_tls_keys_cut_no_connection():
    """Under a chat: the listener shows another certificate, the descriptor
    with its hash goes round, streams of before go on, and nodes that
    connect anew accept it; then the same once more."""
    with Mesh(3) as three:
        alpha, beta, gamma = three.nodes
        with Talk((alpha, beta), "keys", 400) as talk:
            talk.under_way(20)
            for _ in range(2):
                for node in (alpha, beta):
                    old = fingerprints(node)
                    was = incarnation(gamma, node.name)
                    node.ctl("rekey", "tls")
                    until("another certificate",
                          lambda: fingerprints(node) != old)
                    until("its descriptor is everywhere", lambda: min(
                        incarnation(other, node.name)
                        for other in three.nodes) > was)
            anna, bert = talk.finish()
            assert anna["resent"] == bert["resent"] == 0
            for node in (alpha, beta):
                assert "route_down" not in node.log().split(
                    'hermesctl command="rekey tls"')[1].split(
                        "chat_erased")[0]
        gamma.sigkill()
        gamma.start()
        for node in three.nodes:
            until(f"{node.name} sees all alive, and nobody else", lambda: [
                row["state"] for row in node.show("nodes")] == ["alive"] * 3)
        with Talk((gamma, alpha), "anew", 50) as talk:
            talk.finish()


def test_metrics_of_the_mesh():
    """Each moves when what it counts happens, and not before."""
    with Mesh(3) as three, Node("stranger") as stranger:
        alpha, beta, gamma = three.nodes

        def value(name):
            return alpha.metric(f"hermes_mesh_{name}")
        assert value("join_success_total") == 2
        assert value("join_failure_total") == 0
        used = alpha.ctl("ticket")["ticket"]
        alpha.ctl("ticket", "revoke", alpha.ctl(
            "ticket", "list")["tickets"][-1]["ticket_id"])
        text = alpha.ctl("ticket")["ticket"]
        for row in alpha.ctl("ticket", "list")["tickets"]:
            if row["uses_left"]:
                alpha.ctl("ticket", "revoke", row["ticket_id"])
        for void in (used, text):
            assert not stranger.ctl("join", void, ok=False)["ok"]
        assert value("join_failure_total") == 2
        assert stranger.metric("hermes_mesh_join_failure_total") == 2
        until("probes and their times", lambda:
              value("heartbeats_total") > 2 and
              value("probe_rtt_seconds_count") > 2)
        synced = value("appsync_total")
        with Session(beta.app) as app:
            app.connect()
            until("presence came", lambda: value("apps") == 1)
            assert value("appsync_total") > synced
        until("and went", lambda: value("apps") == 0)
        assert value("evicted_peers_total") == 0
        # On a busy machine one is suspected now and then, for a moment.
        until("all alive", lambda: value('nodes{state="alive"}') == 3)
        gamma.sigkill()
        until("suspected", lambda: value("suspected_peers") == 1 or
              value("evicted_peers_total") == 1)
        until("evicted", lambda: value("evicted_peers_total") == 1)
        assert value('nodes{state="failed"}') == 1
        until("nobody is suspected", lambda: value("suspected_peers") == 0)
        until("gamma is out, and nobody else", lambda: {
            row["node_id"]: row["state"] for row in json.loads(
                alpha.http("/mesh/members")[1])} == {
                    "alpha": "alive", "beta": "alive", "gamma": "failed"})
