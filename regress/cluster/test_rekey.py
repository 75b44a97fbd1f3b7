"""Rekeying at the level of real nodes: who may ask for it and how often, what
both ends and both apps see of it, and that no message is lost by it."""

import datetime
import json
import os
import re
import signal
import shutil
import socket
import subprocess
import time

import nacl.public
import pytest

from clock import Timed
from hermes_cli import Cli
from hermes_node import HERMESD, Mesh, until
from hermes_wire import Session, meet

PLAIN = ""  # no rekey block: the defaults
TIMED_OUT = 4
SPAN = 6  # seconds
HOUR = 3600
WINDOW = 256  # messages of a chat that may be unacknowledged


@pytest.fixture(scope="module")
def nodes():
    with Mesh(2, "limits { starts per minute 100000 }\n") as two:
        two.base = [node.config.read_text() for node in two.nodes]
        yield two


@pytest.fixture
def mesh(nodes):
    """The mesh, its configuration as it was at the end."""
    yield nodes
    if any(node.config.read_text() != base
           for node, base in zip(nodes.nodes, nodes.base)):
        configure(nodes, PLAIN)


@pytest.fixture
def timed():
    with Timed(2) as two:
        two.base = [node.config.read_text() for node in two.nodes]
        yield two


def configure(mesh, *blocks):
    """Give all nodes, or each its own, a rekey block, and reload."""
    for i, node in enumerate(mesh.nodes):
        block = blocks[i if len(blocks) > 1 else 0]
        node.config.write_text(
            mesh.base[i] + (f"rekey {{\n{block}\n}}\n" if block else ""))
        assert node.ctl_run("reload").returncode == 0


def fresh_key():
    return bytes(nacl.public.PrivateKey.generate().public_key)


class Talk:
    """anna at the first node and bert at the second, with a chat."""

    number = 0

    def __init__(self, mesh, keys=False, chat=None, seeds=(None, None)):
        Talk.number += 1
        self.mesh = mesh
        self.chat = chat or f"rekey-{Talk.number}"
        self.a, self.b = (Session(node.app, seed) for node, seed in zip(
            mesh.nodes, seeds))
        for app in self.apps:
            app.connect()
        meet(*self.apps)
        for app, other in zip(self.apps, reversed(self.apps)):
            app.start(self.chat, other.identity,
                      key=fresh_key() if keys else None)
        for app in self.apps:
            assert app.wait_ready(self.chat).key_version == 1
        self.sent = {self.a: 0, self.b: 0}

    @property
    def apps(self):
        return [self.a, self.b]

    def __enter__(self):
        return self

    def __exit__(self, failed, *_):
        if not failed and self.row() is not None:
            self.a.delete(self.chat)
            self.a.deleted(self.chat)
            until("gone", lambda: not any(self.row(i) for i in (0, 1)))
        for app in self.apps:
            app.close()

    def other(self, app):
        return self.b if app is self.a else self.a

    def flow(self, app, count=1):
        """Messages of app arrive, each once and in order, and are acked."""
        first = self.sent[app] + 1
        for i in range(first, first + count):
            app.message(self.chat, i, b"message %d" % i)
        for i in range(first, first + count):
            assert self.other(app).received(self.chat) == (
                i, b"message %d" % i)
            app.acked(self.chat, i)
        self.sent[app] += count

    def flow_both(self, count=1):
        for app in self.apps:
            self.flow(app, count)

    def rekey(self, app, **fields):
        app.start(self.chat, self.other(app).identity, rekey=True, **fields)

    def rekeyed(self, app, version):
        status = app.wait("chat_status", lambda s: s.status == "rekeyed"
                          and s.chat_id == self.chat)
        assert status.key_version == version

    def row(self, node=0):
        rows = [row for row in self.mesh[node].show("ratchets")
                if row["chat_id"] == self.chat]
        assert len(rows) <= 1
        return rows[0] if rows else None

    def versions(self):
        return [self.row(i)["key_version"] for i in (0, 1)]

    def reach(self, version):
        until(f"both at version {version}", lambda: self.versions() ==
              [version] * 2)


@pytest.fixture
def talk(mesh):
    with Talk(mesh) as one:
        yield one


class Rekeys:
    """What hermes_rekeys_total of a node went up by since."""

    def __init__(self, node):
        self.node = node
        self.before = node.metrics("keyd")

    def __call__(self, result, cause):
        name = f'hermes_rekeys_total{{result="{result}",cause="{cause}"}}'
        return self.node.metrics("keyd").get(name, 0) - self.before.get(
            name, 0)

    def of(self, cause, own=True):
        """Exactly one rekey of that cause, begun here or by the peer."""
        counts = {r: self(r, cause) for r in ("attempt", "accepted",
                                              "applied")}
        return counts == {"attempt": own, "accepted": not own, "applied": 1}


def rekeys(mesh):
    return [Rekeys(node) for node in mesh.nodes]


def when(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(
        tzinfo=datetime.timezone.utc).timestamp()


# --- who begins it ----------------------------------------------------------

def test_by_app(mesh, talk):
    counts = rekeys(mesh)
    talk.rekey(talk.a, correlation="new")
    assert talk.a.wait_ready(talk.chat).key_version == 2
    assert talk.a.last_correlation == "new"
    talk.rekeyed(talk.b, 2)
    talk.reach(2)
    assert counts[0].of("app") and counts[1].of("app", own=False)
    talk.flow_both()
    # It was the apps' own doing: nobody asks them for more.
    for app in talk.apps:
        assert app.none("chat_status")


@pytest.mark.parametrize("keys", [False, True], ids=["plain", "end-to-end"])
def test_by_operator(mesh, keys):
    with Talk(mesh, keys) as talk:
        talk.flow_both()
        counts = rekeys(mesh)
        answer = mesh[0].ctl("rekey", talk.chat, "--wait")
        assert answer["count"] == 1
        assert [c["key_version"] for c in answer["chats"]] == [1]
        # It returned: the new key is in force at both ends now.
        assert talk.versions() == [2, 2] and talk.row()["confirmed"]
        assert counts[0].of("operator")
        assert counts[1].of("operator", own=False)
        for app in talk.apps:
            talk.rekeyed(app, 2)
            if keys:
                wanted = app.wait("chat_status",
                                  lambda s: s.status == "rekey_wanted")
                assert (wanted.chat_id, wanted.key_version) == (talk.chat, 2)
            assert app.none("chat_status")
        talk.flow_both()
        if keys:
            # They renew theirs, which is not asked for again.
            talk.rekey(talk.b, key=fresh_key(), version=3)
            assert talk.b.wait_ready(talk.chat).key_version == 3
            start = talk.a.wait("start_chat", lambda s: s.rekey)
            assert len(start.local_ephemeral_public_key) == 32
            talk.reach(3)
            for app in talk.apps:
                assert app.none("chat_status",
                                lambda s: s.status == "rekey_wanted")


def test_by_operator_what_is_named(mesh):
    with Talk(mesh) as one, Talk(mesh) as two:
        mesh[1].ctl("rekey", "app", one.b.identity.id, "--wait")
        assert one.versions() == [2, 2] and two.versions() == [1, 1]
        mesh[0].ctl("rekey", two.b.identity.id[:16], "--wait")
        assert one.versions() == [2, 2] and two.versions() == [2, 2]
        # A chat that its peer has not accepted has no key to be replaced.
        one.a.start("not-accepted", one.b.identity)
        one.b.wait("start_chat", lambda s: s.chat_id == "not-accepted")
        begun = len([r for r in mesh[0].show("ratchets")
                     if r["key_version"] > 0])
        assert mesh[0].ctl("rekey", "all", "--wait")["count"] == begun
        assert one.versions() == [3, 3] and two.versions() == [3, 3]
        assert mesh[0].ctl_run("rekey", "not-accepted").returncode == 1
        one.a.delete("not-accepted")
        one.a.deleted("not-accepted")


def test_chat_within_a_node(mesh):
    a, b = Session(mesh[0].app), Session(mesh[0].app)
    with a, b:
        for app in (a, b):
            app.connect()
        meet(a, b)
        a.start("inside", b.identity)
        b.start("inside", a.identity)
        for app in (a, b):
            app.wait_ready("inside")
        assert mesh[0].ctl("rekey", "inside", "--wait")["count"] == 1
        rows = [r for r in mesh[0].show("ratchets")
                if r["chat_id"] == "inside"]
        assert [r["key_version"] for r in rows] == [2, 2]
        for app in (a, b):
            assert app.wait("chat_status").key_version == 2
        a.message("inside", 1, b"x")
        assert b.received("inside") == (1, b"x")
        a.delete("inside")
        a.deleted("inside")


def test_wait_names_what_has_no_new_key(mesh, talk):
    """The peer's key daemon hangs: it is said which chats wait."""
    pid = mesh[1].pids()["keyd"]
    os.kill(pid, signal.SIGSTOP)
    try:
        run = mesh[0].ctl_run("-t", "4", "rekey", talk.chat, "--wait")
        assert run.returncode == TIMED_OUT
        assert talk.chat in run.stderr and "1 chats" in run.stderr
        answer = mesh[0].ctl("-t", "4", "rekey", talk.chat, "--wait",
                             ok=False)
        assert answer["error"] == "timeout"
        assert [c["chat_id"] for c in answer["waiting"]] == [talk.chat]
        row = talk.row()
        assert row["key_version"] == 1 and row["offered_version"] == 2
    finally:
        os.kill(pid, signal.SIGCONT)
    talk.reach(2)  # asked for twice, begun once
    assert talk.row()["offered_version"] == 0
    talk.flow_both()


def test_by_age(timed):
    with Talk(timed) as talk:
        counts = rekeys(timed)
        configure(timed, "\tafter 50s", "\tafter 0")
        row = talk.row()
        assert row["key_version"] == 1
        assert when(row["next_rekey_by"]) - when(row["last_ratchet_at"]) == 50
        assert talk.row(1)["next_rekey_by"] is None
        timed.forward(51)
        talk.reach(2)
        row = talk.row()
        assert counts[0].of("age") and counts[1].of("age", own=False)
        assert when(row["last_ratchet_at"]) <= time.time() + timed.ahead
        configure(timed, "\tafter 0")
        for app in talk.apps:
            talk.rekeyed(app, 2)
        talk.flow_both()
        assert talk.row()["next_rekey_by"] is None


def test_by_count(mesh, talk):
    configure(mesh, "\tafter 0\n\tafter 100 messages", "\tafter 0")
    counts = rekeys(mesh)
    talk.flow(talk.a, 99)
    assert talk.versions() == [1, 1]
    talk.flow(talk.a, 2)
    talk.reach(2)
    assert counts[0].of("count") and counts[1].of("count", own=False)
    # Those received count too, and each key has its own hundred.
    talk.flow(talk.b, 101)
    talk.reach(3)
    row = talk.row()
    assert (row["send_count"], row["recv_count"]) == (101, 101)
    assert row["rekeys"] == 2
    for app in talk.apps:
        talk.rekeyed(app, 2)
        talk.rekeyed(app, 3)


def resume(mesh, talk, place):
    """A new session of the app at a node that was started again."""
    app = talk.apps[place]
    app.close()
    again = Session(mesh[place].app)
    again.identity = app.identity
    again.connect()
    again.start(talk.chat, talk.apps[1 - place].identity, resume=True)
    talk.sent[again] = talk.sent.pop(app)
    if place == 0:
        talk.a = again
    else:
        talk.b = again
    return again


def test_by_resume(mesh, talk):
    """A node that was killed never goes on with the keys it had."""
    talk.flow_both(3)
    assert not talk.row(1)["resumed"]
    before = talk.row(1)
    counts = [Rekeys(mesh[0]), None]
    talk.a.close()  # or her node would begin at once
    until("she is gone", lambda: talk.a.identity.id not in [
        row["app_id"] for row in mesh[0].show("sessions")])
    mesh[1].sigkill()
    mesh[1].start()
    row = talk.row(1)
    assert row["resumed"] and not row["derived"] and row["hkdf"] is None
    for same in ("key_version", "send_count", "recv_count", "rekeys",
                 "last_ratchet_at"):
        assert row[same] == before[same]
    for app in [resume(mesh, talk, place) for place in (0, 1)]:
        ack = app.wait_ready(talk.chat)
        assert ack.resumed and ack.key_version == 2
        assert (ack.next_send_sequence, ack.next_receive_sequence) == (4, 4)
    talk.reach(2)
    assert counts[0]("applied", "resume") == 1
    assert mesh[1].metrics("keyd")[
        'hermes_rekeys_total{result="applied",cause="resume"}'] == 1
    row = talk.row(1)
    assert row["resumed"] and row["derived"] and row["rekeys"] == 1
    assert not talk.row(0)["resumed"]
    talk.flow_both(3)


def test_L13_by_recovery(mesh, talk):
    """A store that went back: seen, told to both apps, keys begun anew, and
    no message twice."""
    store = re.search(r'path "(.*?)"', mesh[1].config.read_text()).group(1)
    talk.flow_both(2)
    mesh[1].sigkill()
    shutil.copytree(store, store + ".old")
    try:
        mesh[1].start()
        resume(mesh, talk, 1).wait_ready(talk.chat)
        mesh[0].ctl("rekey", talk.chat, "--wait")
        talk.flow_both(3)
        version = talk.row()["key_version"]
        assert version == 3
        mesh[1].sigkill()
        uid = os.stat(store)
        shutil.rmtree(store)
        shutil.move(store + ".old", store)
    finally:
        shutil.rmtree(store + ".old", ignore_errors=True)
    for folder, _, files in os.walk(store):
        for path in [folder] + [os.path.join(folder, f) for f in files]:
            os.chown(path, uid.st_uid, uid.st_gid)
    recoveries = mesh[0].metric("hermes_ratchet_recoveries_total", "keyd")
    mesh[1].start()
    ack = resume(mesh, talk, 1).wait_ready(talk.chat)
    assert ack.key_version > version
    # The peer remembers for it.
    assert (ack.next_send_sequence, ack.next_receive_sequence) == (6, 6)
    for app in talk.apps:
        status = app.wait("chat_status", lambda s: s.status == "reset")
        assert status.key_version == ack.key_version
    assert talk.versions() == [ack.key_version] * 2
    assert mesh[0].metric("hermes_ratchet_recoveries_total", "keyd") > recoveries
    applied = 'hermes_rekeys_total{result="applied",cause="recovery"}'
    assert any(node.metrics("keyd").get(applied, 0) >= 1
               for node in mesh.nodes)
    talk.flow_both(2)


def first_of(app, *whats):
    """The body of the first frame of these kinds."""
    def found():
        with app.changed:
            for i, frame in enumerate(app.frames):
                if frame.WhichOneof("body") in whats:
                    del app.frames[i]
                    return getattr(frame, frame.WhichOneof("body"))
    return until(" or ".join(whats), found)


# --- what is refused --------------------------------------------------------

@pytest.mark.parametrize("version,code,result", [
    (1, "REPLAYED_KEY", "replayed"), (2, "REPLAYED_KEY", "replayed"),
    (4, "INVALID_FRAME", "failed"), (2**32 - 2, "INVALID_FRAME", "failed"),
    (2**32 - 1, "INVALID_FRAME", "failed")])
def test_L10_versions_go_up_by_one(mesh, talk, version, code, result):
    talk.rekey(talk.a)
    talk.a.wait_ready(talk.chat)
    counts = rekeys(mesh)
    talk.rekey(talk.a, version=version, correlation="wrong")
    talk.a.error(code, lambda e: e.chat_id == talk.chat)
    assert talk.a.last_correlation == "wrong"
    assert counts[0](result, "app") == 1 and counts[0]("attempt", "app") == 0
    talk.flow_both()
    assert talk.versions() == [2, 2]
    # Nothing is in the way of the right one.
    talk.rekey(talk.b, version=3)
    assert talk.b.wait_ready(talk.chat).key_version == 3


def test_same_key_material_again(mesh, talk):
    key = fresh_key()
    talk.rekey(talk.a, key=key, version=2)
    assert talk.a.wait_ready(talk.chat).key_version == 2
    counts = rekeys(mesh)
    talk.rekey(talk.a, key=key, version=3)
    talk.a.error("REPLAYED_KEY")
    assert counts[0]("replayed", "app") == 1
    talk.rekey(talk.a, key=fresh_key(), version=3)
    assert talk.a.wait_ready(talk.chat).key_version == 3
    talk.flow_both()


def test_throttle_slides(mesh, talk):
    """So many in the window, whether they succeed or not; each app and each
    chat has its own allowance; the answer says when."""
    configure(mesh, f"\tlimit 2\n\twindow {HOUR}s")
    assert talk.row()["throttled_until"] is None
    begin = time.monotonic()
    for version in (2, 3):
        talk.rekey(talk.a)
        assert talk.a.wait_ready(talk.chat).key_version == version
    counts = rekeys(mesh)
    asked = time.monotonic()
    talk.rekey(talk.a, correlation="third")
    error = talk.a.error("REKEY_THROTTLED")
    assert talk.a.last_correlation == "third"
    left = error.retry_after_nanos / 1e9
    assert 0 < left <= HOUR <= left + time.monotonic() - begin + 0.2
    now = time.time()
    assert abs(when(talk.row()["throttled_until"]) - now - left) <= (
        time.monotonic() - asked + 2)
    assert counts[0]("throttled", "app") == 1
    # Another app, and another chat of the same app.
    assert talk.row(1)["throttled_until"] is None
    talk.rekey(talk.b)
    assert talk.b.wait_ready(talk.chat).key_version == 4
    with Talk(mesh) as other:
        other.rekey(other.a)
        assert other.a.wait_ready(other.chat).key_version == 2
    # Refusals do not lengthen it; it is over when it was said to be.
    configure(mesh, f"\tlimit 2\n\twindow {SPAN}s")

    def over():
        again = time.monotonic()
        talk.rekey(talk.a)
        answer = first_of(talk.a, "start_chat_ack", "error")
        if answer.DESCRIPTOR.name == "StartChatAck":
            return answer
        assert answer.code == "REKEY_THROTTLED"
        left = answer.retry_after_nanos / 1e9
        assert again + left - asked <= SPAN + 0.2
        return None
    answer = until("it is over", over)
    assert time.monotonic() - begin >= SPAN - 0.1
    assert answer.key_version == 5
    talk.flow_both()


# --- at the same time -------------------------------------------------------

@pytest.mark.parametrize("who", ["apps", "apps-operator", "operators"])
def test_L09_everybody_at_once(mesh, talk, who):
    """With the way between the nodes blocked until all have asked."""
    pids = [node.pids()["mesh"] for node in mesh.nodes]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        marks = [len(node.log()) for node in mesh.nodes]
        if who != "apps":
            assert mesh[0].ctl("rekey", talk.chat)["count"] == 1
        if who == "operators":
            assert mesh[1].ctl("rekey", talk.chat)["count"] == 1
        else:
            talk.rekey(talk.a, version=2)
            talk.rekey(talk.b, version=2)
        for node, mark in zip(mesh.nodes, marks):
            until("an offer at " + node.name, lambda: re.search(
                r"offer handle=\w+ side=\d version=2 ", node.log()[mark:]))
        for app in talk.apps:
            app.ping()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    if who != "operators":
        for app in talk.apps:
            assert app.wait_ready(talk.chat).key_version == 2
    talk.reach(2)
    talk.flow_both(5)
    assert talk.versions() == [2, 2]
    assert [talk.row(i)["confirmed"] for i in (0, 1)] == [True, True]


# --- how long keys live -----------------------------------------------------

def test_key_lifetime(timed):
    """Nobody renews: asked for in time, then the end, the same word for both;
    until then one rekey is enough to go on."""
    with Talk(timed) as talk, Talk(timed) as kept:
        # A quarter of it is left to whoever is asked.
        configure(timed, "\tafter 0\n\tkey lifetime 56s")
        expired = [n.metric("hermes_chats_expired_total", "keyd")
                   for n in timed.nodes]
        name = 'hermes_chat_erasures_total{reason="rekey_required"}'
        erased = [n.metrics("keyd").get(name, 0) for n in timed.nodes]
        timed.forward(42)
        for one in (talk, kept):
            for app in one.apps:
                wanted = app.wait("chat_status")
                assert (wanted.status, wanted.key_version) == (
                    "rekey_wanted", 1)
        kept.rekey(kept.b)
        assert kept.b.wait_ready(kept.chat).key_version == 2
        kept.reach(2)
        timed.forward(15)
        for app in talk.apps:
            error = app.wait("error")
            assert (error.code, error.chat_id) == ("REKEY_REQUIRED",
                                                   talk.chat)
            assert app.deleted(talk.chat) == "rekey_required"
        for i, node in enumerate(timed.nodes):
            until("erased", lambda: talk.row(i) is None)
            counts = node.metrics("keyd")
            assert counts["hermes_chats_expired_total"] == expired[i] + 1
            assert counts.get(name, 0) == erased[i] + 1
        talk.a.message(talk.chat, 1, b"late")
        talk.a.error("CHAT_NOT_FOUND")
        kept.flow_both()
        assert kept.versions() == [2, 2]


def test_row_says_expired(mesh):
    """Between the end of the lifetime and the next tick."""
    with Talk(mesh) as talk:
        assert talk.row()["expired"] is False
        configure(mesh, "\tafter 0\n\tkey lifetime 2s")

        def looked():
            row = talk.row()
            return row is None or row["expired"]
        until("expired", looked)
        for app in talk.apps:
            assert app.deleted(talk.chat) == "rekey_required"


def test_rekey_before_the_lifetime_ends_without_a_word(timed):
    """When age renews the key, nobody has to be asked."""
    with Talk(timed) as talk:
        began = when(talk.row()["last_ratchet_at"])
        configure(timed, "\tafter 26s\n\tkey lifetime 50s")
        for version in (2, 3):
            timed.forward(27)
            talk.reach(version)
        # Longer than a key lives.
        assert when(talk.row()["last_ratchet_at"]) - began > 50
        for app in talk.apps:
            assert app.none("chat_status",
                            lambda s: s.status == "rekey_wanted")
            assert app.none("error")
        talk.flow_both()


@pytest.mark.parametrize("first,second,hkdf", [
    ("sha512", "sha512", "sha512"), ("sha512", "sha256", "sha256"),
    ("sha256", "sha256", "sha256")])
def test_hkdf_hash(mesh, talk, first, second, hkdf):
    assert talk.row()["hkdf"] == "sha256"
    configure(mesh, f"\thkdf hash {first}", f"\thkdf hash {second}")
    mesh[0].ctl("rekey", talk.chat, "--wait")
    for i in (0, 1):
        assert talk.row(i)["hkdf"] == hkdf
        assert talk.row(i)["aead"] in ("aes-256-gcm", "chacha20-poly1305")
    talk.flow_both(3)


def test_grace(mesh, talk):
    """The epoch before stays open until the first message of the new one, or
    for the grace."""
    talk.flow_both()
    assert not talk.row()["previous_epoch_open"]
    mesh[0].ctl("rekey", talk.chat, "--wait")
    assert all(talk.row(i)["previous_epoch_open"] for i in (0, 1))
    talk.flow(talk.a)
    assert talk.row(0)["previous_epoch_open"]  # bert has not spoken
    assert not talk.row(1)["previous_epoch_open"]
    talk.flow(talk.b)
    assert not talk.row(0)["previous_epoch_open"]
    configure(mesh, "\tgrace 1s", PLAIN)
    mesh[0].ctl("rekey", talk.chat, "--wait")
    until("closed by time", lambda: not talk.row(0)["previous_epoch_open"])
    assert talk.row(1)["previous_epoch_open"]  # 30 seconds there
    talk.flow_both()


# --- nothing is lost --------------------------------------------------------

def router_errors(node):
    return {name: value for name, value in node.metrics("router").items()
            if name.startswith("hermes_router_errors_total")}


class Control:
    """hermesctl's socket, kept open."""

    def __init__(self, node):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(node.socket)
        self.lines = self.socket.makefile("r")

    def ask(self, **request):
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self.lines.readline())
            if "ok" in answer:
                return answer


def test_L08_rekeys_under_full_load(mesh):
    """Several chats, both ways, windows full, a rekey every 50 ms from
    changing sides: nothing refused, lost, doubled or out of order."""
    count, chats = 20000, 3
    failures = [node.metric("hermes_ratchet_failures_total", "keyd")
                for node in mesh.nodes]
    controls = [Control(node) for node in mesh.nodes]
    pairs, names = [], [f"load-{i}" for i in range(chats)]
    try:
        for name in names:
            a, b = f"{name}-a", f"{name}-b"
            pairs.append((
                Cli("send", mesh[0].app, a, "--chat", name, "--check",
                    "--answers", count, "--count", count, "--size", 200,
                    "--delete", "--timeout", 300, Cli.id(b)),
                Cli("recv", mesh[1].app, b, "--chat", name, "--check",
                    "--echo", "--stay", "--count", count, "--timeout", 300,
                    Cli.id(a))))
        for a, b in pairs:
            a.wait("RECEIVED")
        # Who began before the other was there was told so.
        errors = [router_errors(node) for node in mesh.nodes]
        rounds, tops = 0, {}
        tick = time.monotonic()
        while any(a.process.poll() is None for a, _ in pairs):
            answer = controls[rounds % 2].ask(command="rekey", all=True)
            assert answer["ok"], answer
            for chat in answer["chats"]:
                if chat["chat_id"] in names:
                    tops[chat["chat_id"]] = max(
                        tops.get(chat["chat_id"], 0), chat["key_version"])
            rounds += 1
            tick += 0.05
            time.sleep(max(0, tick - time.monotonic()))
        every = list(range(1, count + 1))
        for a, b in pairs:
            done = a.succeed(60)
            assert done["sent"] == done["received"] == count
            assert done["gaps"] == done["duplicates"] == done["resent"] == 0
            assert a.sequences("RECEIVED") == every
            assert a.sequences("ACKED") == every
            assert b.succeed(60)["gaps"] == 0
            assert b.sequences("RECEIVED") == every
            assert b.count("DISCONNECTED") == a.count("DISCONNECTED") == 0
        assert rounds >= 10
        # One for every third asked for; where the machine is slow, one for
        # every four windows of messages.
        least = min(rounds // 3, count // WINDOW // 4)
        assert all(tops[name] >= least for name in names), (rounds, tops)
        for i, node in enumerate(mesh.nodes):
            assert node.metric(
                "hermes_ratchet_failures_total", "keyd") == failures[i]
            assert router_errors(node) == errors[i]
    finally:
        for pair in pairs:
            for cli in pair:
                cli.kill()


# --- what is told of it -----------------------------------------------------

def test_http_and_hermesctl_say_the_same(mesh, talk):
    talk.flow(talk.a, 3)
    talk.flow(talk.b, 2)
    status, text = mesh[0].http("/crypto/ratchets")
    assert status == 200
    row = next(r for r in json.loads(text) if r["chat_id"] == talk.chat)
    assert row == talk.row()
    assert row["key_version"] == 1 and row["rekeys"] == 0
    assert (row["send_count"], row["recv_count"]) == (3, 2)
    assert row["local_app_id"] == talk.a.identity.id
    assert row["remote_app_id"] == talk.b.identity.id
    assert row["remote_node_id"] == mesh[1].name
    assert row["derived"] and row["confirmed"]
    assert not row["expired"] and not row["resumed"]
    assert 0 <= time.time() - when(row["last_ratchet_at"]) < 60
    assert when(row["next_rekey_by"]) - when(row["last_ratchet_at"]) == 3600
    name = 'hermes_chat_erasures_total{reason="deleted"}'
    erased = mesh[0].metric(name, "keyd")
    talk.a.delete(talk.chat)
    assert talk.a.deleted(talk.chat) == "deleted"
    assert talk.row() is None
    assert mesh[0].metric(name, "keyd") == erased + 1


@pytest.mark.parametrize("line", [
    "after", "after 500ms", "after 366d", "after -1s", "after 1 messages 2",
    "after 5000000000 messages", "limit 0", "limit 1001", "window 50ms",
    "window 2d", "key lifetime 100ms", "key lifetime 4000d", "grace 0",
    "grace 2h", "hkdf hash md5", "hkdf hash", "every 1h"])
def test_bad_values_name_file_and_line(mesh, line):
    node = mesh[0]
    path = node.folder / "bad.conf"
    path.write_text(node.config.read_text() + f"rekey {{\n\t{line}\n}}\n")
    number = len(path.read_text().splitlines()) - 1
    run = subprocess.run([HERMESD, "-n", "-f", str(path)],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert f"{path}:{number}: " in run.stderr, run.stderr
