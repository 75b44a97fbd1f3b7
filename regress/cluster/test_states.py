"""Every state that hermesctl shows is in its JSON and in a metric, and they
agree: on nodes that are well and not, chats in every state that lasts."""

import collections
import datetime

import pytest

import manual
from clock import Timed
from hermes_cli import Cli
from hermes_node import Mesh, Node, until

JSON = manual.part(manual.source("hermesctl.8"), "JSON")

# What names a row and never may become a label, or is of one row alone.
NAMES = {"app_id", "node_id", "node_key", "chat_id", "handle", "instance",
         "endpoint",
         "local_app_id", "remote_app_id", "remote_node_id", "session_id",
         "address", "ticket_id", "mesh_id", "process", "self", "local",
         "key_version", "incarnation", "connected_at", "created_at",
         "expires_at", "last_seen_seconds", "last_ratchet_at",
         "next_rekey_by", "uses", "pid", "source",
         "listener"}
# The other keys, and where their metric is.
METRICS = {
    "summary": {"version": "hermes_build_info{version=",
                "ready": "hermes_node_ready",
                "reasons": 'hermes_not_ready{reason="keyd_locked"}',
                "new_chats_refused": "hermes_new_chats_refused",
                "unlocked": "hermes_unlocked",
                "in_mesh": "hermes_mesh_member",
                "authority": "hermes_mesh_authority",
                "draining": "hermes_draining",
                "certificate_not_after":
                    "hermes_certificate_expiry_timestamp_seconds"
                    '{certificate="membership"}',
                "up_since": 'hermes_process_start_time_seconds'
                            '{process="keyd"}',
                "sessions": "hermes_sessions_active",
                "chats": "hermes_chats_active",
                "apps": "hermes_mesh_apps",
                "nodes_alive": 'hermes_mesh_nodes{state="alive"}',
                "nodes_suspect": 'hermes_mesh_nodes{state="suspect"}',
                "nodes_failed": 'hermes_mesh_nodes{state="failed"}',
                "messages": "hermes_messages_total{",
                "messages_sent": 'hermes_messages_total{direction="out"',
                "messages_received": 'hermes_messages_total{direction="in"',
                "message_bytes": "hermes_message_bytes_total",
                "rekeys": 'hermes_rekeys_total{result="applied"',
                "errors": "hermes_router_errors_total{",
                "disk_used_percent": "hermes_store_disk_used_percent"},
    "status": {"ready": "hermes_node_ready",
               "reasons": 'hermes_not_ready{reason="draining"}',
               "processes": "hermes_process_up{"},
    "apps": {},
    "chats": {"state": 'hermes_chats{state="ready"}',
              "accepted": 'hermes_messages_total{direction="out",path="mesh"}',
              "acked": "hermes_router_latency_seconds_count"
                       '{op="chat_message"}',
              "delivered": 'hermes_messages_total{direction="in",'
                           'path="mesh"}',
              "parked": "hermes_messages_parked"},
    "nodes": {"state": 'hermes_mesh_nodes{state="alive"}',
              "rtt_seconds": "hermes_mesh_probe_rtt_seconds_count",
              "certificate_not_after":
                  "hermes_certificate_expiry_timestamp_seconds"
                  '{certificate="membership"}',
              "apps": "hermes_mesh_apps",
              "connected": "hermes_mesh_nodes_connected",
              "held": 'hermes_mesh_held_total{process="mesh"}',
              "bad_signatures": "hermes_mesh_cut_total"},
    "penalties": {"kept_out": 'hermes_sources_kept_out{listener="app"}',
                  "refused": 'hermes_rpc_abuse_total{listener="app",'
                             'kind="penalty"}',
                  "seconds": 'hermes_sources_kept_out{listener="mesh"}',
                  "offences": 'hermes_connection_errors_total'
                              '{listener="app",cause="handshake"}'},
    "ratchets": {"send_count": 'hermes_ratchet_advances_total'
                               '{direction="send"}',
                 "recv_count": 'hermes_ratchet_advances_total'
                               '{direction="receive"}',
                 "derived": 'hermes_ratchets{is="derived"}',
                 "resumed": 'hermes_ratchets{is="resumed"}',
                 "expired": 'hermes_ratchets{is="expired"}',
                 "previous_epoch_open":
                     'hermes_ratchets{is="previous_epoch_open"}',
                 "confirmed": 'hermes_ratchets{is="confirmed"}',
                 "offered_version": 'hermes_ratchets{is="offered"}',
                 "hkdf": 'hermes_ratchets{is="sha512"}',
                 "aead": 'hermes_ratchets{is="aes_256_gcm"}',
                 "throttled_until": 'hermes_ratchets{is="throttled"}',
                 "rekeys": 'hermes_rekeys_total{result="applied",'
                           'cause="operator"}'},
    "sessions": {"kept_bytes": "hermes_messages_kept_bytes",
                 "messages_in": 'hermes_messages_total{direction="out",'
                                'path="mesh"}',
                 "messages_out": 'hermes_messages_total{direction="in",'
                                 'path="mesh"}',
                 "chats": "hermes_chats_active",
                 "v1": "hermes_sessions_v1_total"},
    "tickets": {"uses_left": "hermes_mesh_ticket_uses_left"},
    "tielines": {"up": 'hermes_mesh_tielines{up="yes"}',
                 "sent": 'hermes_messages_total{direction="out",'
                         'path="mesh"}',
                 "received": 'hermes_messages_total{direction="in",'
                             'path="mesh"}'},
    "processes": {"up": 'hermes_process_up{process="keyd"}',
                  "restarts": 'hermes_process_restarts_total'
                              '{process="mesh"}',
                  "since": 'hermes_process_start_time_seconds'
                           '{process="keyd"}'},
}
ALL = ("router", "keyd", "mesh", "control")
CHAT_STATES = "none offered ready rekeying suspended gone".split()
NODE_STATES = "alive suspect failed left revoked expired".split()
RATCHET = {"derived": "derived", "resumed": "resumed", "expired": "expired",
           "previous_epoch_open": "previous_epoch_open",
           "confirmed": "confirmed", "offered_version": "offered",
           "throttled_until": "throttled"}


@pytest.fixture(scope="module")
def mesh():
    """Chats that are ready, offered only, and suspended; of two more nodes
    one failed and one is revoked; a ticket is open."""
    with Mesh(2) as two, Node("gamma") as gamma, Node("delta") as delta:
        clis = []
        for chat in ("ready", "away"):
            anna, bert = f"st-a-{chat}", f"st-b-{chat}"
            clis.append(Cli("recv", two[1].app, bert, "--chat", chat,
                            "--stay", Cli.id(anna)))
            clis.append(Cli("send", two[0].app, anna, "--chat", chat,
                            Cli.id(bert)))
            clis[-1].type("one\n")
            clis[-1].wait("ACKED")
        clis[-1].kill()
        clis.append(Cli("recv", two[1].app, "st-b-shy", "--chat", "other",
                        Cli.id("nobody")))
        clis[-1].wait("CONNECTED")
        clis.append(Cli("send", two[0].app, "st-a-shy", "--chat", "offered",
                        Cli.id("st-b-shy")))
        clis[-1].wait("CONNECTED")
        for node in (gamma, delta):
            node.ctl("join", two[0].ctl("ticket")["ticket"])
        two[0].ctl("ticket", "--uses", "3")
        two[0].ctl("mesh", "revoke", "delta")
        gamma.sigkill()
        two[0].ctl("rekey", "ready", "--wait")
        yield two
        for cli in clis:
            cli.kill()


def agree(node, what, counted, measured, wanted=None):
    """Until what the rows say is what the metrics say, and what is wanted if
    that is known: a node may be suspected for a moment. Both at rest."""
    last = {}

    def same():
        rows = node.show(what)
        last["rows"], last["metrics"] = counted(rows), measured(
            node.metrics())
        return last["rows"] == last["metrics"] and (
            wanted is None or last["rows"] == wanted)
    try:
        until("rows and metrics agree", same)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from None
    return last["rows"]


def test_chats(mesh):
    states = agree(mesh[0], "chats", lambda rows: collections.Counter(
        row["state"] for row in rows), lambda m: collections.Counter(
            {s: int(m[f'hermes_chats{{state="{s}"}}'])
             for s in CHAT_STATES if m[f'hermes_chats{{state="{s}"}}']}),
        {"ready": 1, "suspended": 1, "offered": 1})
    table = mesh[0].ctl_run("show", "chats").stdout
    for state in states:
        assert f" {state} " in table
    agree(mesh[0], "chats", lambda rows: sum(r["parked"] for r in rows),
          lambda m: m["hermes_messages_parked"])


def test_instances(mesh):
    """Which chat of its name it is, at both ends; none before keys."""
    def instances(node):
        return {row["chat_id"]: row["instance"]
                for row in node.show("chats")}
    there = instances(mesh[0])
    assert len(there["ready"]) == 32 and there["offered"] is None
    assert there["ready"] != there["away"]
    other = instances(mesh[1])
    assert all(there[chat] == other[chat] for chat in ("ready", "away"))


def test_nodes(mesh):
    agree(mesh[0], "nodes", lambda rows: collections.Counter(
        row["state"] for row in rows), lambda m: collections.Counter(
            {s: int(m[f'hermes_mesh_nodes{{state="{s}"}}'])
             for s in NODE_STATES if m[f'hermes_mesh_nodes{{state="{s}"}}']}),
        {"alive": 2, "failed": 1, "revoked": 1})
    agree(mesh[0], "nodes", lambda rows: sum(
        row["connected"] and not row["self"] for row in rows),
        lambda m: m["hermes_mesh_nodes_connected"])


def test_a_membership_that_expired():
    """The state `expired`, which the member itself sees last."""
    with Timed(2, extra="mesh { membership lifetime 1m }\n") as two:
        two[1].sigkill()
        two.forward(55)
        until("expired", lambda: two[0].metric(
            'hermes_mesh_nodes{state="expired"}') == 1)
        assert {row["node_id"]: row["state"] for row in
                two[0].show("nodes")}["beta"] == "expired"


def test_ratchets(mesh):
    def rows_say(rows):
        return {name: sum(row[key] not in (False, 0, None) for row in rows)
                for key, name in RATCHET.items()} | {
                    "sha512": sum(r["hkdf"] == "sha512" for r in rows),
                    "aes_256_gcm": sum(r["aead"] == "aes-256-gcm"
                                       for r in rows)}

    def metrics_say(m):
        return {name: int(m[f'hermes_ratchets{{is="{name}"}}'])
                for name in (*RATCHET.values(), "sha512", "aes_256_gcm")}
    counts = agree(mesh[0], "ratchets", rows_say, metrics_say)
    assert counts["derived"] == 2 and counts["offered"] >= 1
    assert mesh[0].metrics("keyd")[
        'hermes_rekeys_total{result="applied",cause="operator"}'] >= 1


def test_tielines_tickets_sessions_apps(mesh):
    agree(mesh[0], "tielines", lambda rows: {
        "yes": sum(r["up"] for r in rows),
        "no": sum(not r["up"] for r in rows)}, lambda m: {
            up: int(m[f'hermes_mesh_tielines{{up="{up}"}}'])
            for up in ("yes", "no")})
    left = agree(mesh[0], "tickets", lambda rows: (
        len(rows), sum(r["uses_left"] for r in rows)), lambda m: (
            m["hermes_mesh_tickets"], m["hermes_mesh_ticket_uses_left"]))
    assert left[1] == 3
    agree(mesh[0], "sessions", len, lambda m: m["hermes_sessions_active"])
    agree(mesh[0], "apps", len, lambda m: m["hermes_mesh_apps"])


def test_processes_and_summary(mesh):
    metrics = mesh[0].metrics(*ALL)
    processes = until("all answer", lambda: (
        rows := mesh[0].ctl("status", ok=False)["processes"]) and all(
            row["up"] for row in rows) and rows)
    for row in processes:
        label = f'{{process="{row["process"]}"}}'
        assert metrics[f"hermes_process_up{label}"] == row["up"]
        assert metrics[f"hermes_process_start_time_seconds{label}"] == \
            datetime.datetime.fromisoformat(
                row["since"].replace("Z", "+00:00")).timestamp()
    for node in mesh.nodes:
        summary = until("all answer", lambda: node.ctl(
            "show", ok=False).get("summary"))
        metrics = node.metrics(*ALL)
        for key, name in (("unlocked", "hermes_unlocked"),
                          ("in_mesh", "hermes_mesh_member"),
                          ("authority", "hermes_mesh_authority"),
                          ("draining", "hermes_draining")):
            assert metrics[name] == summary[key], key
        assert summary["rekeys"] == sum(
            value for name, value in metrics.items()
            if name.startswith('hermes_rekeys_total{result="applied"'))
        assert summary["messages_sent"] + summary["messages_received"] == \
            summary["messages"]


@pytest.mark.parametrize("what", METRICS)
def test_every_key_has_its_metric(mesh, what):
    """What is described as a key of rows names a row or has a metric, and
    that is there."""
    keys = manual.keys(JSON, f"Keys of {what}")
    assert keys - NAMES == set(METRICS[what])
    there = mesh[0].metrics()
    for name in METRICS[what].values():
        assert any(one.startswith(name) for one in there), name
