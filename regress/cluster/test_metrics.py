"""Metrics: every one of the contract is there, well formed, and moves when
the thing happens; their number does not; alert rules and the dashboard name
none that is not there."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
from datetime import datetime, timezone

import pytest
from cryptography import x509

from hermes_node import Mesh, Node, until, wait_alive
from hermes_wire import (ROOT, Identity, Session, meet,
                         server_certificate)

RULES = ROOT / "etc/prometheus/hermes.rules.yml"
RULES_TEST = ROOT / "etc/prometheus/hermes.test.yml"
DASHBOARD = ROOT / "etc/grafana/hermes.json"

# Name: (type, {label: values, or None for any}).
CODES = set("""INVALID_FRAME INVALID_KEY AUTH_FAILED KEY_MISMATCH
    DERIVATION_FAILED REPLAYED_KEY REKEY_THROTTLED REKEY_REQUIRED
    RATCHET_DESYNC RATCHET_FAILED CHAT_NOT_FOUND CHAT_NOT_READY
    AMBIGUOUS_CHAT OUT_OF_SEQUENCE UNKNOWN_APP ROUTE_UNAVAILABLE
    TARGET_NOT_FOUND UNSUPPORTED RATE_LIMITED MESSAGE_TOO_LARGE LIMIT_REACHED
    BACKPRESSURE""".split())
CONTRACT = {
    "hermes_sessions_active": ("gauge", {}),
    "hermes_sessions_total": ("counter", {}),
    "hermes_chats_active": ("gauge", {}),
    "hermes_chats_expired_total": ("counter", {}),
    "hermes_router_errors_total": ("counter", {"code": CODES}),
    "hermes_router_latency_seconds": ("histogram", {"op": None}),
    "hermes_ratchet_advances_total": ("counter", {
        "direction": {"send", "receive"}}),
    "hermes_ratchet_failures_total": ("counter", {"reason": None}),
    "hermes_ratchet_recoveries_total": ("counter", {"result": None}),
    "hermes_chat_erasures_total": ("counter", {"reason": {
        "deleted", "deleted_by_peer", "expired", "route_closed",
        "route_unavailable", "ratchet_desync", "rekey_required",
        "revoked"}}),
    "hermes_rekeys_total": ("counter", {
        "result": {"attempt", "accepted", "applied", "resume", "stale",
                   "replayed", "throttled", "failed"},
        "cause": {"app", "operator", "age", "count", "resume",
                  "recovery"}}),
    "hermes_mesh_nodes": ("gauge", {"state": None}),
    "hermes_mesh_join_success_total": ("counter", {}),
    "hermes_mesh_join_failure_total": ("counter", {}),
    "hermes_mesh_heartbeats_total": ("counter", {}),
    "hermes_mesh_appsync_total": ("counter", {}),
    "hermes_mesh_suspected_peers": ("gauge", {}),
    "hermes_mesh_evicted_peers_total": ("counter", {}),
    "hermes_mesh_probe_rtt_seconds": ("histogram", {}),
    "hermes_messages_total": ("counter", {
        "direction": {"in", "out"}, "path": {"local", "mesh"}}),
    "hermes_message_bytes_total": ("counter", {}),
    "hermes_queue_depth": ("gauge", {"door": None}),
    "hermes_process_up": ("gauge", {"process": {
        "parent", "router", "keyd", "mesh", "control"}}),
    "hermes_process_restarts_total": ("counter", {"process": {
        "router", "mesh", "control"}}),
    "hermes_store_key_rotations_total": ("counter", {}),
    "hermes_build_info": ("gauge", {"version": None}),
}


def text(node):
    status, body = node.http("/metrics")
    assert status == 200
    return body


def samples(body):
    """[(name, {label: value}, number)] of the text format."""
    found = []
    for line in body.splitlines():
        if line.startswith("#"):
            continue
        name, labels, number = re.fullmatch(
            r"([a-z0-9_]+)(?:\{(.*)\})? (\S+)", line).groups()
        found.append((name, dict(re.findall(r'(\w+)="([^"]*)"',
                                            labels or "")), float(number)))
    return found


def value(node, name, **labels):
    """The sum of the series with these labels."""
    return sum(number for key, has, number in samples(text(node))
               if key == name and labels.items() <= has.items())


def promtool(*arguments, stdin=None):
    return subprocess.run(["promtool", *map(str, arguments)], input=stdin,
                          capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def mesh():
    with Mesh(2) as two:
        yield two


# --- form ---------------------------------------------------------------------

def test_promtool_finds_nothing(mesh):
    check = promtool("check", "metrics", stdin=text(mesh[0]))
    assert check.returncode == 0 and check.stdout + check.stderr == ""


def test_every_metric_of_the_contract(mesh):
    body = text(mesh[0])
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", body, re.M))
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", body, re.M))
    found = samples(body)
    assert set(helps) == set(types)
    for name, (kind, labels) in CONTRACT.items():
        assert types[name] == kind and len(helps[name]) > 5, name
        series = [has for key, has, _ in found if key == name or (
            kind == "histogram" and key == name + "_count")]
        assert series, name
        for label, values in labels.items():
            told = {has[label] for has in series}
            assert values is None or told == values, (name, label)
        assert all(set(has) == set(labels) for has in series), name
    # Nothing is there without its family, and nothing twice.
    families = set(types)
    for name, _, _ in found:
        assert name in families or re.sub(
            "_(bucket|sum|count)$", "", name) in families, name
    keys = [(name, tuple(sorted(has.items()))) for name, has, _ in found]
    assert len(keys) == len(set(keys))
    # hermesctl shows the same.
    shown = mesh[0].ctl_run("show", "metrics").stdout
    assert {s[0] for s in samples(shown)} == {s[0] for s in found}


def test_certificates_tell_when_they_end(mesh):
    for node in mesh.nodes:
        end = x509.load_pem_x509_certificate(server_certificate(
            node.app).encode()).not_valid_after
        epoch = (end - end.replace(1970, 1, 1, 0, 0, 0)).total_seconds()
        name = "hermes_certificate_expiry_timestamp_seconds"
        assert value(node, name, certificate="app") == epoch
        summary = node.ctl("show")["summary"]
        member = datetime.strptime(
            summary["certificate_not_after"], "%Y-%m-%dT%H:%M:%SZ").replace(
                tzinfo=timezone.utc).timestamp()
        assert value(node, name, certificate="membership") == member
        assert value(node, name, certificate="mesh") > member - 40000 * 86400
    with Node("alone") as alone:
        assert value(alone, "hermes_certificate_expiry_timestamp_seconds",
                     certificate="membership") == 0


# --- each moves ---------------------------------------------------------------

class Moves:
    """What was, to compare with what is."""

    def __init__(self, node):
        self.node = node
        self.before = {(name, tuple(sorted(has.items()))): number
                       for name, has, number in samples(text(node))}

    def by(self, name, **labels):
        was = sum(number for (key, has), number in self.before.items()
                  if key == name and labels.items() <= dict(has).items())
        return value(self.node, name, **labels) - was

    def wait(self, name, least=1, **labels):
        until(f"{name} {labels} moves by {least}",
              lambda: self.by(name, **labels) >= least)


def test_sessions_chats_messages_and_errors(mesh):
    """On the node of the app that acts, unless said otherwise."""
    alpha, beta = mesh.nodes
    moved, there = Moves(alpha), Moves(beta)
    with Session(alpha.app) as anna, Session(alpha.app) as carl, \
            Session(beta.app) as bert:
        for app in (anna, carl, bert):
            app.connect(auto=True)
        moved.wait("hermes_sessions_active", 2)
        moved.wait("hermes_sessions_total", 2)
        there.wait("hermes_mesh_appsync_total")
        latency = "hermes_router_latency_seconds_count"
        moved.wait(latency, 2, op="connect")
        meet(anna, carl, bert)
        moved.wait(latency, op="find_app")
        anna.ready("far", bert.identity)
        anna.ready("near", carl.identity)
        moved.wait("hermes_chats_active", 2)
        moved.wait(latency, 2, op="start_chat")
        for chat in ("far", "near"):
            anna.message(chat, 1, b"x" * 100)
            anna.acked(chat, 1)
        bert.received("far")
        bert.message("far", 1, b"y" * 50)
        bert.acked("far", 1)
        for direction, path in (("in", "mesh"), ("out", "mesh"),
                                ("in", "local"), ("out", "local")):
            moved.wait("hermes_messages_total", direction=direction,
                       path=path)
        moved.wait("hermes_message_bytes_total", 250)
        moved.wait(latency, 2, op="chat_message")
        for direction in ("send", "receive"):
            moved.wait("hermes_ratchet_advances_total", direction=direction)
        # Errors, by what went wrong.
        anna.start("far2", Identity().id)
        anna.error("UNKNOWN_APP")
        anna.message("none", 1, b"x")
        anna.error("CHAT_NOT_FOUND")
        anna.message("near", 7, b"x")
        anna.error("OUT_OF_SEQUENCE")
        for code in ("UNKNOWN_APP", "CHAT_NOT_FOUND", "OUT_OF_SEQUENCE"):
            moved.wait("hermes_router_errors_total", code=code)
        # Rekeys: by the app, by the operator, too old, too many.
        anna.start("far", bert.identity, version=1, rekey=True)
        anna.error("REPLAYED_KEY")
        moved.wait("hermes_rekeys_total", result="replayed", cause="app")
        for version in (2, 3, 4):
            anna.start("far", bert.identity, version=version, rekey=True)
            anna.wait_ready("far")
        anna.start("far", bert.identity, version=5, rekey=True)
        assert anna.error("REKEY_THROTTLED").retry_after_nanos > 0
        rekeys = "hermes_rekeys_total"
        for result, least in (("attempt", 3), ("applied", 3),
                              ("throttled", 1)):
            moved.wait(rekeys, least, result=result, cause="app")
        there.wait(rekeys, 3, result="accepted", cause="app")
        moved.wait("hermes_router_errors_total", code="REKEY_THROTTLED")
        anna.start("far", bert.identity, version=9, rekey=True)
        anna.error("INVALID_FRAME")
        moved.wait(rekeys, result="failed", cause="app")
        alpha.ctl("rekey", "far", "--wait")
        moved.wait(rekeys, result="applied", cause="operator")
        # Ends.
        anna.delete("far")
        assert anna.deleted("far") == "deleted"
        assert bert.deleted("far") == "deleted_by_peer"
        moved.wait(latency, op="delete_chat")
        moved.wait("hermes_chat_erasures_total", reason="deleted")
        there.wait("hermes_chat_erasures_total", reason="deleted_by_peer")
        alpha.ctl("erase", "--now")
        moved.wait("hermes_store_key_rotations_total")
        anna.delete("near")
        anna.deleted("near")
        until("gauges go back", lambda: moved.by("hermes_chats_active") == 0)
    until("sessions too", lambda: moved.by("hermes_sessions_active") == 0)
    assert moved.by("hermes_build_info") == 0
    assert value(alpha, "hermes_build_info") == 1


def test_expiry():
    with Node("brief") as node, \
            Session(node.app) as anna, Session(node.app) as bert:
        moved = Moves(node)
        for app in (anna, bert):
            app.connect(auto=True)
        meet(anna, bert)
        anna.ready("short", bert.identity)
        with open(node.config, "a") as out:
            out.write("keystore { chat idle 1s }\n")
        node.ctl("reload")
        assert anna.deleted("short") == "expired"
        moved.wait("hermes_chats_expired_total")
        moved.wait("hermes_chat_erasures_total", reason="expired")


def test_processes_and_doors(mesh):
    alpha, beta = mesh.nodes
    moved = Moves(alpha)
    for name in ("mesh", "control", "router"):
        alpha.kill_process(name)
        moved.wait("hermes_process_restarts_total", process=name)
    until("all answer", lambda: alpha.http("/healthz")[0] == 200)
    wait_alive(alpha, 2)
    pids = alpha.pids()
    with Session(alpha.app) as anna, Session(beta.app) as bert:
        for app in (anna, bert):
            app.connect(auto=True)
        meet(anna, bert)
        chats = [f"door-{i}" for i in range(16)]
        for chat in chats:
            anna.ready(chat, bert.identity)
        os.kill(pids["keyd"], signal.SIGSTOP)
        try:
            # More than the socket between the two takes.
            for i in range(1, 16):
                for chat in chats:
                    anna.message(chat, i, bytes(60000))
            until("bytes wait for keyd", lambda: value(
                alpha, "hermes_queue_depth", door="router_keyd") > 0)
            until("and keyd is missed", lambda: value(
                alpha, "hermes_process_up", process="keyd") == 0)
        finally:
            os.kill(pids["keyd"], signal.SIGCONT)
        for chat in chats:
            anna.acked(chat, 15)
        until("no byte waits", lambda: value(
            alpha, "hermes_queue_depth") == 0)
        until("keyd is up", lambda: value(
            alpha, "hermes_process_up", process="keyd") == 1)
        for chat in chats:
            anna.delete(chat)
            anna.deleted(chat)


def store_of(node):
    return re.search(r'path "(.*?)"', node.config.read_text()).group(1)


def test_nodes_joins_and_what_goes_back(tmp_path):
    """Joins, suspicion, eviction, resumption; a store that went back."""
    with Mesh(3) as trio:
        alpha, beta, gamma = trio.nodes
        assert value(alpha, "hermes_mesh_join_success_total") == 2
        assert value(beta, "hermes_mesh_join_success_total") == 1
        moved = Moves(alpha)
        moved.wait("hermes_mesh_heartbeats_total")
        moved.wait("hermes_mesh_probe_rtt_seconds_count")
        ticket = alpha.ctl("ticket", "--uses", "1")["ticket"]
        with Node("delta") as delta:
            alpha.ctl("ticket", "revoke", alpha.ctl("ticket", "list")[
                "tickets"][-1]["ticket_id"])
            for row in alpha.ctl("ticket", "list")["tickets"]:
                alpha.ctl("ticket", "revoke", row["ticket_id"])
            assert delta.ctl_run("join", ticket).returncode == 1
            moved.wait("hermes_mesh_join_failure_total")
            assert value(delta, "hermes_mesh_join_failure_total") == 1
        # Stopped is silent: suspected first, then evicted.
        family = gamma.family()
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        until("suspected", lambda: {
            (name, has.get("state")) for name, has, number in
            samples(text(alpha)) if number == 1} >= {
                ("hermes_mesh_suspected_peers", None),
                ("hermes_mesh_nodes", "suspect")})
        moved.wait("hermes_mesh_evicted_peers_total")
        assert value(alpha, "hermes_mesh_nodes", state="failed") == 1
        for pid in family:
            os.kill(pid, signal.SIGCONT)
        wait_alive(alpha, 3)
        # A chat, resumed after a crash; then with a store of before.
        anna = Session(alpha.app)
        bert = Session(beta.app)
        sessions = [anna, bert]
        try:
            for app in sessions:
                app.connect(auto=True)
            meet(*sessions)
            anna.ready("past", bert.identity)

            def again():
                bert.close()
                app = Session(beta.app, bert.identity)
                sessions.append(app)
                app.connect(auto=True)
                app.ready("past", anna.identity, resume=True)
                return app
            beta.sigkill()
            shutil.copytree(store_of(beta), tmp_path / "old")
            beta.start()
            again()
            moved.wait("hermes_rekeys_total", result="applied",
                       cause="resume")
            alpha.ctl("rekey", "past", "--wait")
            beta.sigkill()
            owner = os.stat(store_of(beta))
            shutil.rmtree(store_of(beta))
            shutil.copytree(tmp_path / "old", store_of(beta))
            for path in [pathlib.Path(store_of(beta)),
                         *pathlib.Path(store_of(beta)).rglob("*")]:
                os.chown(path, owner.st_uid, owner.st_gid)
            os.chmod(store_of(beta), 0o700)
            beta.start()
            again()
            moved.wait("hermes_ratchet_recoveries_total")
            until("recovered", lambda: sum(value(
                node, "hermes_rekeys_total", result="applied",
                cause="recovery") for node in (alpha, beta)) >= 1)
        finally:
            for app in sessions:
                app.close()


# --- how many -----------------------------------------------------------------

def test_L26_the_number_of_series_is_fixed(mesh):
    """Real apps and chats, with names that would be labels elsewhere. Ten
    thousand of each: test_control_http, through control's own doors."""
    alpha = mesh[0]
    before = {(n, tuple(sorted(h.items()))) for n, h, _ in
              samples(text(alpha))}
    names = [f'<{i}"}} evil_total{{x="' for i in range(40)]
    with Session(alpha.app) as anna:
        anna.connect(metadata={'a"b\n': 'c"d\n'}, auto=True)
        peers = [Session(alpha.app) for _ in range(5)]
        try:
            for peer in peers:
                peer.connect(auto=True)
            meet(anna, peers[-1])
            for i, name in enumerate(names):
                anna.ready(name, peers[i % 5].identity)
            until("all there", lambda: value(
                alpha, "hermes_chats_active") >= 40)
            body = text(alpha)
        finally:
            for peer in peers:
                peer.close()
    after = {(n, tuple(sorted(h.items()))) for n, h, _ in samples(body)}
    assert after == before
    assert "evil" not in body and anna.identity.id[:12] not in body
    assert "beta" not in body  # nor a node's name
    assert promtool("check", "metrics", stdin=body).returncode == 0


# --- rules and dashboard ------------------------------------------------------

def named(expression):
    return set(re.findall(r"\bhermes_[a-z0-9_]+", expression))


def test_alert_rules():
    """promtool knows them, and tries each; none is without a trial."""
    check = promtool("check", "rules", RULES)
    assert check.returncode == 0, check.stdout + check.stderr
    run = promtool("test", "rules", RULES_TEST)
    assert run.returncode == 0, run.stdout + run.stderr
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    trials = RULES_TEST.read_text()
    silent = set(re.findall(r"alertname: (\w+), exp_alerts: \[\]", trials))
    loud = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", trials))
    assert alerts == silent == loud
    for wanted in ("REKEY_THROTTLED", 'reason="replay"', "ratchet_desync",
                   "evicted_peers", "process_restarts", "store_failed",
                   "certificate_expiry", "disk_used"):
        assert wanted in RULES.read_text(), wanted


def expressions(panel):
    return [t["expr"] for t in panel.get("targets", [])]


def test_dashboard(mesh, tmp_path):
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({p["id"] for p in panels}) == len(panels) > 20
    cells = set()
    for panel in panels:
        grid = panel["gridPos"]
        mine = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"])
                for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not mine & cells and grid["x"] + grid["w"] <= 24
        cells |= mine
        assert panel["title"]
        if panel["type"] != "row":
            assert expressions(panel), panel["title"]
            # From the source the reader chose, for the nodes he chose.
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all("$instance" in e for e in expressions(panel))
    every = [e for p in panels for e in expressions(p)]
    every += [a["expr"] for a in board["annotations"]["list"]]
    # All can be read by Prometheus.
    rules = {"groups": [{"name": "panels", "rules": [
        {"record": f"panel:{i}", "expr": e.replace("$__rate_interval", "5m")}
        for i, e in enumerate(every)]}]}
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps(rules))
    check = promtool("check", "rules", path)
    assert check.returncode == 0, check.stdout + check.stderr
    # All that it and the rules name exists, and it shows the contract's.
    exist = {name for name, _, _ in samples(text(mesh[0]))}
    told = set().union(*map(named, every))
    assert told <= exist
    alerted = set().union(*(named(e) for e in re.findall(
        r"expr: (?:>-\n)?(.*?)\n +(?:for|labels):", RULES.read_text(),
        re.S)))
    assert len(alerted) >= 15 and alerted <= exist, alerted - exist
    shown = {re.sub("_bucket$", "", name) for name in told}
    assert set(CONTRACT) <= shown, set(CONTRACT) - shown
    assert named(board["templating"]["list"][1]["definition"]) <= exist
