"""hermesctl(8) and the admin HTTP of real nodes: every command, what it
prints, how it exits; and what an operator did not allow is not shown."""

import concurrent.futures
import json
import os
import pwd
import re
import select
import socket
import subprocess
import urllib.request

import pytest

from hermes_cli import Cli
from hermes_node import (HERMESCTL, HERMESD, Mesh, Node, free_ports, until,
                         wait_alive)

ANNA, BERT, CARL = "control-anna", "control-bert", "control-carl"
RATCHET = {"chat_id", "key_version", "send_count", "recv_count",
           "last_ratchet_at", "local_app_id", "remote_app_id", "derived",
           "resumed", "expired", "remote_node_id", "previous_epoch_open",
           "rekeys", "next_rekey_by", "confirmed", "offered_version",
           "throttled_until", "hkdf", "aead"}
# As init leaves it, but for a passphrase that opens at once.
PLAIN = "\nkeystore {\n\targon2 ops 1\n\targon2 memory 1M\n}\n"
USAGE, UNREACHABLE, TIMED_OUT = 2, 3, 4
NOWHERE = ("is hermesd running? Start it, or name the socket of its "
           "configuration with -s")


class Talk:
    """Anna on the first node and Bert on the second, and two chats of
    theirs that stay."""

    CHATS = ("control-chat-long", "control-other")

    def __init__(self, mesh):
        self.clis = []
        for chat in self.CHATS:
            # One app has one session: another pair for each chat.
            anna, bert = f"{ANNA}-{chat}", f"{BERT}-{chat}"
            self.clis.append(Cli("recv", mesh[1].app, bert, "--chat", chat,
                                 "--stay", Cli.id(anna)))
            cli = Cli("send", mesh[0].app, anna, "--chat", chat,
                      Cli.id(bert))
            self.clis.append(cli)
            cli.type("one\ntwo\nthree\n")
            cli.wait("ACKED", 3)

    @classmethod
    def app(cls, chat):
        return Cli.id(f"{ANNA}-{chat}")

    def kill(self):
        for cli in self.clis:
            cli.kill()


@pytest.fixture(scope="module")
def mesh():
    with Mesh(2, extra="") as two:
        talk = Talk(two)
        yield two
        talk.kill()


@pytest.fixture(scope="module")
def plain():
    """A node as init makes it, in no mesh."""
    with Node("plain", defaults=PLAIN) as node:
        yield node


def lines(run):
    assert run.returncode == 0, run
    return run.stdout.splitlines()


# --- looking ----------------------------------------------------------------

@pytest.mark.parametrize("what,columns", [
    ("nodes", "NODE STATE KEY APPS RTT SEEN ENDPOINT"),
    ("apps", "APP NODE LOCAL CONNECTED (UTC)"),
    ("sessions", "APP CONNECTED (UTC) CHATS IN OUT ADDRESS"),
    ("chats", "CHAT LOCAL APP PEER APP NODE STATE KEY SENT RCVD"),
    ("ratchets", "CHAT LOCAL APP PEER APP NODE KEY SENT RCVD REKEYS"),
    ("tielines", "HANDLE NODE UP SENT RCVD"),
])
def test_tables(mesh, what, columns):
    table = lines(mesh[0].ctl_run("show", what))
    assert table[0].split() == columns.split()
    assert len(table) == 1 + len(mesh[0].show(what))
    assert len(table) > 1
    assert max(map(len, table)) <= 80


@pytest.mark.parametrize("short,long", [
    ("sh no", "show nodes"), ("show ra", "show ratchets"),
    ("sh ce", "show certificate"), ("sta", "status"), ("sh", "show summary"),
])
def test_words_may_be_shortened(mesh, short, long):
    def keys(words):
        return sorted(mesh[0].ctl(*words.split()))
    assert keys(short) == keys(long)


@pytest.mark.parametrize("words,listed", [
    ("s", {"show", "status", "stop"}),
    ("show c", {"certificate", "chats", "config"}),
    ("re", {"rekey", "reload"}),
    ("mesh x", {"create", "revoke"}),
    ("mesh", {"create", "revoke"}),
    ("nothing", {"show", "unlock", "init"}),
])
def test_wrong_words_list_what_is_possible(mesh, words, listed):
    run = mesh[0].ctl_run(*words.split())
    assert run.returncode == USAGE
    assert words == "mesh" or f" {words.split()[-1]}: " in run.stderr
    assert listed <= {line.split()[0] for line in run.stderr.splitlines()
                      if line.startswith("  ")}


@pytest.mark.parametrize("words,word,listed", [
    ("ticket --tt 1h", "--tt", ["--ttl", "--uses", "--full", "--json"]),
    ("rekey all --what", "--what", ["--wait"]),
    ("init -x", "-x", ["-n", "-d", "-l", "-m", "-a"]),
    ("rekey chats one", "chats", ["chat", "app"]),
    ("-y show", "-- 'y'", ["-j", "-s", "-t"]),
])
def test_wrong_options_list_what_is_possible(mesh, words, word, listed):
    run = mesh[0].ctl_run(*words.split())
    assert run.returncode == USAGE
    assert word in run.stderr and all(one in run.stderr for one in listed)


@pytest.mark.parametrize("words", [
    "", "show nodes extra", "show nodes --what", "join", "mesh revoke",
    "ticket --ttl 1y", "ticket --ttl", "ticket --uses 0", "erase", "rekey",
    "rekey all what", "join nonsense", "mesh revoke UPPER", "-t 0 status",
    "-x status",
])
def test_wrong_usage(mesh, words):
    run = mesh[0].ctl_run(*words.split())
    assert run.returncode == USAGE, run
    assert run.stderr and run.stdout == ""


@pytest.mark.parametrize("words, said", [
    (["rekey"], "an argument is missing: {CHAT | chat CHAT | app APP | all} "
                "[--wait] | tls"),
    (["mesh", "revoke"], "an argument is missing: NODE"),
    (["init", "-m", "1.2.3.4"], "-m 1.2.3.4: not address:port"),
])
def test_wrong_arguments_say_which(words, said):
    run = subprocess.run([HERMESCTL, *words], capture_output=True, text=True)
    assert run.returncode == 2 and run.stderr == f"hermesctl: {said}\n"


def test_version():
    run = subprocess.run([HERMESCTL, "-V"], capture_output=True, text=True)
    assert re.fullmatch(r"hermesctl \d+\.\d+\.\d+\n", run.stdout)


def test_rows_as_json(mesh):
    nodes = {row["node_id"]: row for row in mesh[0].show("nodes")}
    assert nodes["alpha"]["self"] and not nodes["beta"]["self"]
    assert nodes["beta"]["endpoint"] == mesh[1].mesh
    assert {row["node_id"] for row in mesh[0].show("apps")} == {
        "alpha", "beta"}
    short = mesh[0].ctl("show", "apps")["apps"]
    assert short and all(len(row["app_id"]) == 12 for row in short)
    whole = mesh[0].ctl("show", "apps", "--full")["apps"]
    assert {row["app_id"] for row in whole} >= {
        Talk.app(chat) for chat in Talk.CHATS}
    chats = mesh[0].ctl("show", "chats", "--full")["chats"]
    assert {row["chat_id"] for row in chats} == set(Talk.CHATS)
    assert all(row["state"] == "ready" and row["remote_node_id"] == "beta" and
               row["accepted"] == row["acked"] == 3 for row in chats)
    for row in mesh[0].ctl("show", "ratchets")["ratchets"]:
        assert set(row) == RATCHET
        assert row["derived"] and row["remote_node_id"] == "beta"
        assert len(row["chat_id"]) <= 12
    until("tielines up", lambda: all(
        row["up"] for row in mesh[0].show("tielines")))
    assert len(mesh[0].show("sessions")) == 2


def test_summary_status_certificate_metrics(mesh):
    until("both alive", lambda: mesh[0].ctl("show")["summary"][
        "nodes_alive"] == 2)
    summary = mesh[0].ctl("show")["summary"]
    assert summary["node_id"] == "alpha" and summary["unlocked"]
    assert summary["in_mesh"] and summary["authority"]
    assert len(summary["mesh_id"]) == len(summary["node_key"]) == 64
    assert summary["sessions"] == 2
    assert not mesh[1].ctl("show")["summary"]["authority"]
    text = lines(mesh[0].ctl_run("show"))
    assert max(map(len, text)) <= 80
    assert any(re.match(r"node +alpha$", line) for line in text)
    def status_of_ready():
        status = mesh[0].ctl("status", ok=False)
        return status["ready"] and status
    status = until("ready", status_of_ready)
    assert status["reasons"] == []
    assert {p["process"] for p in status["processes"]} == {
        "parent", "router", "keyd", "mesh", "control"}
    for process in status["processes"]:
        os.kill(process["pid"], 0)
    until("ready in words", lambda: mesh[0].ctl_run(
        "status").stdout.splitlines()[0] == "ready")
    pem = mesh[0].ctl_run("show", "certificate").stdout
    assert pem.startswith("-----BEGIN CERTIFICATE-----\n")
    assert pem == mesh[0].ctl("show", "certificate")["certificate"]
    metrics = mesh[0].ctl_run("show", "metrics").stdout
    assert "\nhermes_sessions_active 2\n" in metrics


# --- changing ---------------------------------------------------------------

def version(node, chat):
    rows = node.ctl("show", "ratchets", "--full")["ratchets"]
    return next(row["key_version"] for row in rows if row["chat_id"] == chat)


def test_rekey(mesh):
    first, other = Talk.CHATS
    before, untouched = version(mesh[0], first), version(mesh[0], other)
    assert mesh[0].ctl("rekey", first, "--wait")["count"] == 1
    assert version(mesh[0], first) == before + 1
    assert version(mesh[0], other) == untouched
    # By the app's id, and by the handle.
    assert mesh[0].ctl("rekey", Talk.app(other)[:16], "--wait")["ok"]
    assert version(mesh[0], other) == untouched + 1
    handle = next(row["handle"] for row in mesh[0].show("chats")
                  if first.startswith(row["chat_id"]))
    assert mesh[0].ctl("rekey", handle, "--wait")["ok"]
    assert version(mesh[0], first) == before + 2
    # A prefix of both is refused, and both are named.
    run = mesh[0].ctl_run("rekey", "control-")
    assert run.returncode == 1
    assert first in run.stderr and other in run.stderr
    assert f" {handle[:12]} " in run.stderr
    assert max(map(len, run.stderr.splitlines())) <= 80
    assert mesh[0].ctl("rekey", "control-", ok=False)["error"] == "ambiguous"
    assert mesh[0].ctl("rekey", "no-such", ok=False)["error"] == "not_found"
    assert version(mesh[0], first) == before + 2


def test_rekey_all_and_app(mesh):
    before = [version(mesh[0], chat) for chat in Talk.CHATS]
    assert mesh[0].ctl("rekey", "all", "--wait")["count"] == 2
    assert [version(mesh[0], chat) for chat in Talk.CHATS] == [
        v + 1 for v in before]
    app = Talk.app(Talk.CHATS[1])
    assert mesh[0].ctl("rekey", "app", app, "--wait")["count"] == 1
    assert version(mesh[0], Talk.CHATS[1]) == before[1] + 2
    # Both nodes see the same keys.
    assert [version(mesh[1], chat) for chat in Talk.CHATS] == [
        version(mesh[0], chat) for chat in Talk.CHATS]


def test_erase_now(mesh):
    before = mesh[0].metric("hermes_store_key_rotations_total")
    assert mesh[0].ctl_run("erase", "--now").returncode == 0
    assert mesh[0].metric("hermes_store_key_rotations_total") > before


def test_erase_now_by_many_at_once(mesh):
    """Each is answered by a rotation that began after it asked."""
    name = "hermes_store_key_rotations_total"
    before = mesh[0].metric(name)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: mesh[0].ctl_run("erase", "--now"),
                             range(4)))
    assert [one.returncode for one in done] == [0] * 4, done
    assert before < mesh[0].metric(name) <= before + 5


def test_ticket_join_and_revoke():
    with Mesh(1) as mesh, Node("late") as late:
        ticket = mesh[0].ctl("ticket", "--ttl", "10m", "--uses", "2")
        assert ticket["ticket"].startswith("hermes1")
        assert ticket["expires_at"].endswith("Z")
        # Only the authority makes tickets; a forged one joins nothing.
        assert late.ctl_run("ticket").returncode == 1
        forged = ticket["ticket"]
        forged = forged[:-20] + ("a" if forged[-20] != "a" else "b") + \
            forged[-19:]
        assert late.ctl_run("join", forged).returncode in (1, USAGE)
        run = late.ctl_run("join", "-", stdin=ticket["ticket"] + "\n")
        assert run.returncode == 0, run
        until("both alive", lambda: mesh[0].ctl("show")["summary"][
            "nodes_alive"] == 2)
        assert mesh[0].ctl_run("mesh", "create").returncode == 1
        assert mesh[0].ctl_run("mesh", "revoke", "nobody").returncode == 1
        assert mesh[0].ctl_run("mesh", "revoke", "late").returncode == 0
        until("late revoked", lambda: any(
            row["node_id"] == "late" and row["state"] == "revoked"
            for row in mesh[0].show("nodes")))


def test_mesh_create_says_how_to_join():
    """Without -j it prints the mesh's id and the whole command for the next
    node, which works once; with -j it makes no ticket. Nodes that listen on
    all addresses tell one that others can reach, where there is a route."""
    ports = free_ports(6)
    alpha, beta = (Node(name, addresses=(
        f"127.0.0.1:{ports[i]}", f"0.0.0.0:{ports[i + 1]}",
        f"127.0.0.1:{ports[i + 2]}")) for i, name in
        ((0, "alpha"), (3, "beta")))
    with alpha, beta:
        text = alpha.ctl_run("mesh", "create").stdout
        assert text.splitlines()[0] == alpha.ctl("show")["summary"]["mesh_id"]
        words = re.search(r"^ +hermesctl (mesh join hermes1\w+)$", text, re.M)
        assert beta.ctl_run(*words.group(1).split()).returncode == 0
        for node in (alpha, beta):
            wait_alive(node, 2)
            assert not any("0.0.0.0" in row["endpoint"]
                           for row in node.show("nodes"))
        assert [t["uses_left"] for t in alpha.show("tickets")] == [0]
    with Node("gamma") as gamma:
        gamma.ctl("mesh", "create")
        assert gamma.show("tickets") == []


def test_unlock():
    with Node("locked", defaults=PLAIN) as node:
        secret = (node.config.parent / "passphrase").read_text()
        assert node.stop() == 0
        text = node.config.read_text()
        node.config.write_text(re.sub(r"\tpassphrase file .*\n", "", text))
        node.spawn()
        until("admin up", lambda: node.http("/readyz")[0] == 503)
        until("only the lock is in the way", lambda: json.loads(
            node.http("/readyz")[1])["reasons"] == ["keyd locked"])
        run = node.ctl_run("status")
        assert run.returncode == 1 and "keyd locked" in run.stdout
        assert re.search(r"^reasons +keyd locked$",
                         node.ctl_run("show").stdout, re.M)
        for words in ("show certificate", "show ratchets", "show tickets",
                      "ticket", "mesh create", "rekey some",
                      "rekey all", "rekey tls", "erase --now"):
            run = node.ctl_run(*words.split())
            assert run.returncode == 1, run
            assert "locked" in run.stderr
            assert "hermesctl unlock" in run.stderr
        assert node.ctl_run("unlock", stdin="wrong\n").returncode == 1
        assert node.ctl_run("unlock", stdin="").returncode == USAGE
        assert node.ctl_run("unlock", stdin=secret).returncode == 0
        node.wait_ready()
        assert node.ctl_run("unlock", stdin=secret).returncode == 0
        assert secret.strip() not in node.log()


def test_reload(plain):
    assert plain.ctl_run("reload").returncode == 0
    good = plain.config.read_text()
    plain.config.write_text(good + "\nnonsense here\n")
    run = plain.ctl_run("reload")
    assert run.returncode == 1
    assert re.search(r"hermesd\.conf:\d+:", run.stderr), run
    assert plain.ctl_run("status").returncode == 0
    plain.config.write_text(good)
    assert plain.ctl_run("reload").returncode == 0


def test_stop_and_not_reachable():
    with Node("brief", defaults=PLAIN) as node:
        assert node.ctl_run("stop").returncode == 0
        for address in (node.app, node.mesh, node.admin):
            host, port = address.rsplit(":", 1)
            socket.create_server((host, int(port))).close()
        assert node.process.wait(120) == 0
        for words in ("status", "show nodes", "stop"):
            run = node.ctl_run(*words.split())
            assert run.returncode == UNREACHABLE
            assert "running" in run.stderr
            assert node.ctl_run("-j", *words.split()).stdout == ""


def ctl_at(path, *words):
    run = subprocess.run([HERMESCTL, "-s", str(path), *words],
                         capture_output=True, text=True, timeout=120)
    assert run.stdout == ""
    return run.returncode, run.stderr


def test_a_socket_where_no_daemon_is(tmp_path):
    """Each says what is wrong, and what to do."""
    path = tmp_path / "sock"
    assert ctl_at(path, "show") == (
        UNREACHABLE, f"hermesctl: {path}: No such file or directory: "
        f"{NOWHERE}\n")
    path.write_text("a file")
    assert ctl_at(path, "show") == (
        UNREACHABLE, f"hermesctl: {path}: Connection refused: {NOWHERE}\n")
    assert ctl_at("/x" * 60, "show") == (
        USAGE, f"hermesctl: {'/x' * 60}: too long for a socket: at most 107 "
        "characters\n")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        for answer, said in ((b"220 mail\n", "no hermesd; -s names"),
                             (b"", "closed the connection: it stops")):
            run = subprocess.Popen([HERMESCTL, "-s", path, "show"],
                                   stderr=subprocess.PIPE, text=True)
            one, _ = other.accept()
            with one, one.makefile("rb") as asked:
                assert asked.readline()
                one.sendall(answer)
            assert said in run.stderr.read()
            assert run.wait(60) == UNREACHABLE


def test_a_daemon_that_hangs_is_not_waited_for(tmp_path):
    """Neither when it lets in who asks, nor when its queue is full."""
    path = tmp_path / "sock"
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen(0)
        for _ in range(3):
            status, said = ctl_at(path, "-t", "1", "status")
            assert status == TIMED_OUT
            assert said.startswith("hermesctl: no answer in 1 seconds: ")


def test_stop_waits_for_the_last_process(tmp_path):
    """The parent has the addresses when all others are gone."""
    path = str(tmp_path / "sock")
    with socket.socket(socket.AF_UNIX) as parent:
        parent.bind(path)
        parent.listen()
        run = subprocess.Popen([HERMESCTL, "-s", path, "stop"])
        control, _ = parent.accept()
        with control, control.makefile("rb") as asked:
            assert b'"stop"' in asked.readline()
            control.sendall(b'{"ok": true}\n')
        # It comes back; nobody but the parent is there to know.
        assert select.select([parent], [], [], 60)[0]
        assert run.poll() is None
        os.unlink(path)
        assert run.poll() is None
    assert run.wait(60) == 0


def test_a_process_that_hangs_is_named(plain):
    import signal
    pid = plain.pids()["mesh"]
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = plain.ctl("show", "nodes", ok=False)
        assert answer["error"] == "timeout"
        assert answer["missing"] == ["mesh"]
        assert plain.ctl_run("show", "nodes").returncode == TIMED_OUT
        status, body = plain.http("/healthz")
        assert status == 503 and json.loads(body)["missing"] == ["mesh"]
        assert plain.ctl_run("-t", "1", "status").returncode == TIMED_OUT
    finally:
        os.kill(pid, signal.SIGCONT)
    until("healthy again", lambda: plain.http("/healthz")[0] == 200)


# --- init -------------------------------------------------------------------

def test_init(tmp_path):
    def init(*arguments):
        return subprocess.run([HERMESCTL, "init", *arguments],
                              capture_output=True, text=True, timeout=60)
    folder = tmp_path / "node"
    run = init("-n", "alpha", "-d", str(folder), "-l", "[::1]:7443")
    assert run.returncode == 0, run
    assert "mesh create" in run.stdout and "hermesd -f" in run.stdout
    config = folder / "hermesd.conf"
    check = subprocess.run([HERMESD, "-n", "-f", str(config)],
                           capture_output=True, text=True, timeout=60)
    assert check.returncode == 0, check
    assert (folder / "passphrase").stat().st_mode & 0o7777 == 0o600
    assert (folder / "keystore").stat().st_mode & 0o7777 == 0o700
    if os.geteuid() == 0:
        assert (folder / "keystore").stat().st_uid == pwd.getpwnam(
            "_hermes_keyd").pw_uid
    before = {p.name: p.read_bytes() for p in folder.iterdir()
              if p.is_file()}
    assert init("-n", "beta", "-d", str(folder)).returncode == 1
    assert before == {p.name: p.read_bytes() for p in folder.iterdir()
                      if p.is_file()}
    assert init("-n", "Bad Name", "-d", str(folder)).returncode == USAGE
    assert init("-l", "nowhere").returncode == USAGE


# --- admin HTTP -------------------------------------------------------------

@pytest.mark.parametrize("manager, start", [
    ("mkdir -p /run/systemd/system", "systemctl enable --now hermesd"),
    ("true", "hermesd")])
def test_init_in_the_places_of_the_system(manager, start):
    """It says how a node is started there: by systemd, where that is."""
    script = (f"for f in /etc /var/lib /run; do mount -t tmpfs t $f; done; "
              f"{manager}; exec {HERMESCTL} init -n paris")
    run = subprocess.run(["unshare", "-m", "sh", "-ec", script],
                         capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("made /etc/hermes/hermesd.conf\n")
    assert (f"\nnext: {start}\nthen: hermesctl mesh create "
            in run.stdout), run.stdout


def test_admin_pages(mesh):
    for path in ("/healthz", "/readyz", "/mesh/members", "/mesh/apps",
                 "/crypto/ratchets"):
        # On a busy machine the only other node may be suspected for a
        # moment, and then this one is not ready.
        until(f"{path} says so", lambda path=path: mesh[0].http(
            path)[0] == 200)
        json.loads(mesh[0].http(path)[1])
    assert {row["node_id"] for row in json.loads(
        mesh[0].http("/mesh/members")[1])} == {"alpha", "beta"}
    for row in json.loads(mesh[0].http("/crypto/ratchets")[1]):
        assert set(row) == RATCHET
        # This mesh says `admin ids full`.
        assert len(row["local_app_id"]) == 64
    with urllib.request.urlopen(f"http://{mesh[0].admin}/metrics",
                                timeout=60) as answer:
        assert answer.headers["Content-Type"] == \
            "text/plain; version=0.0.4"
        text = answer.read().decode()
    assert 'hermes_process_up{process="keyd"} 1\n' in text
    for name in ("hermes_sessions_active", "hermes_chats_active",
                 "hermes_mesh_nodes", "hermes_build_info"):
        assert f"# TYPE {name} gauge\n" in text


def test_L21_admin_shows_little_by_default(plain):
    assert plain.http("/mesh/apps")[0] == 404
    with Cli("recv", plain.app, CARL) as carl:
        carl.wait("CONNECTED")
        for row in json.loads(plain.http("/mesh/members")[1]):
            assert len(row["node_key"]) == 12
        for path in ("/mesh/members", "/crypto/ratchets", "/metrics",
                     "/readyz", "/healthz"):
            assert Cli.id(CARL)[:12] not in plain.http(path)[1]


def test_L21_admin_listens_on_loopback_only(plain):
    """Init's default is 127.0.0.1, and no process of the node listens for
    HTTP anywhere else."""
    assert "listen admin on 127.0.0.1 port" in plain.config.read_text()
    port = int(plain.admin.rsplit(":", 1)[1])
    listening = subprocess.run(["ss", "-Hltn", f"sport = :{port}"],
                               capture_output=True, text=True, check=True)
    addresses = {line.split()[3] for line in listening.stdout.splitlines()}
    assert addresses == {f"127.0.0.1:{port}"}


def raw(node, request):
    host, port = node.admin.rsplit(":", 1)
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(request)
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    return data


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_http_only_reads(plain, method):
    answer = raw(plain, f"{method} /metrics HTTP/1.1\r\nHost: localhost"
                 "\r\nContent-Length: 0\r\n\r\n".encode())
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD" in head
    assert "error" in json.loads(body)


def test_http_slow_clients_are_cut(plain):
    """One that says nothing, one that says a byte at a time, one that says
    more than a request may be: none stays, and the others are served."""
    host, port = plain.admin.rsplit(":", 1)
    mute, slow, long = (socket.create_connection((host, int(port)), 60)
                        for _ in range(3))
    with mute, slow, long:
        long.sendall(b"GET /" + b"x" * 8187)
        assert long.recv(64).startswith(b"HTTP/1.1 400 ")
        request = iter(b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 1000)

        def cut():
            """A byte each time it is looked; True when it was no use."""
            try:
                slow.send(bytes([next(request)]))
                return select.select([slow], [], [], 0.2)[0] and \
                    slow.recv(64) == b""
            except (BrokenPipeError, ConnectionResetError):
                return True
        assert plain.http("/healthz")[0] == 200
        until("the slow one is cut", cut)
        assert mute.recv(64) == b""
    assert plain.http("/healthz")[0] == 200


def test_http_refuses_what_it_should(plain):
    answer = raw(plain, b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ") and \
        answer.endswith(b"\r\n\r\n")
    assert b"X-Content-Type-Options: nosniff" in answer
    answer = raw(plain, b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])
    answer = raw(plain, b"GET /metrics HTTP/1.1\r\nHost: evil.test\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert raw(plain, b"\x16\x03\x01\r\n\r\n").startswith(b"HTTP/1.1 400 ")
