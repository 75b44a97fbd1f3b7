"""How chats and nodes end, each with its word on both sides; and what rekeys
do that nobody asked for. Nodes of their own, with short times."""

import os
import shutil

import pytest

from hermes_cli import Cli
from hermes_node import Mesh, Node, join, until
from hermes_wire import WAIT, Identity, Session, meet, pair, pb


def flows(a, b, name, first):
    a.message(name, first, b"x")
    assert b.received(name) == (first, b"x")
    a.acked(name, first)


def status(s, word, name):
    return s.wait("chat_status", lambda c: (c.chat_id, c.status) == (
        name, word))


def now_with(node, lines):
    """From now on, these are in its configuration."""
    with open(node.config, "a") as out:
        out.write(lines)
    node.ctl("reload")


IDLE = "keystore {\n\tchat idle 2s\n}\n"


def test_expired_is_told_to_both():
    with Mesh(2) as mesh:
        a, b, _, _ = pair(mesh[0].app, mesh[1].app, "idle")
        flows(a, b, "idle", 1)
        for node in mesh.nodes:
            now_with(node, IDLE)
        assert a.deleted("idle") == "expired"
        assert b.deleted("idle") == "expired"
        for node in mesh.nodes:
            assert node.show("ratchets") == []
        assert sum(node.metric("hermes_chats_expired_total", "keyd")
                   for node in mesh.nodes) >= 1
        a.close()
        b.close()


def test_rekey_required_is_told_to_both():
    """Keys may be 3 s old, and nothing renews them."""
    with Node("old", extra="rekey after 0\n") as node:
        a, b, _, _ = pair(node.app, node.app, "old")
        flows(a, b, "old", 1)
        now_with(node, "rekey key lifetime 3s\n")
        for s in (a, b):
            error = s.error("REKEY_REQUIRED")
            assert error.chat_id == "old"
            assert error.message.endswith("the chat ends")
            assert s.deleted("old") == "rekey_required"
        assert node.show("ratchets") == []
        a.close()
        b.close()


def test_rekey_by_age():
    with Mesh(2, "rekey {\n\tafter 1s\n}\n") as mesh:
        a, b, _, _ = pair(mesh[0].app, mesh[1].app, "age")
        for s in (a, b):
            assert status(s, "rekeyed", "age").key_version >= 2
        flows(a, b, "age", 1)
        flows(b, a, "age", 1)
        assert sum(n.metric(
            'hermes_rekeys_total{result="applied",cause="age"}', "keyd")
            for n in mesh.nodes) >= 1
        a.close()
        b.close()


def test_rekey_by_count_loses_nothing():
    with Mesh(2, "rekey {\n\tafter 50 messages\n\tlimit 1000\n}\n") as mesh:
        a, b, _, _ = pair(mesh[0].app, mesh[1].app, "count")
        for i in range(1, 501):
            a.message("count", i, b"%d" % i)
        for i in range(1, 501):
            assert b.received("count") == (i, b"%d" % i)
        a.acked("count", 500)
        assert status(a, "rekeyed", "count").key_version >= 2
        until("the last of them is done", lambda: min(
            r["key_version"] for n in mesh.nodes
            for r in n.show("ratchets")) >= 3)
        a.close()
        b.close()


def test_operator_rekeys_one_chat_and_one_app(mesh):
    a, b, _, _ = pair(mesh[0].app, mesh[1].app, "op-1")
    mesh[0].ctl("rekey", "op-1")
    assert status(a, "rekeyed", "op-1").key_version == 2
    assert status(b, "rekeyed", "op-1").key_version == 2
    mesh[1].ctl("rekey", "app", b.identity.id)
    assert status(a, "rekeyed", "op-1").key_version == 3
    flows(a, b, "op-1", 1)
    a.close()
    b.close()


GRACE = "mesh {\n\troute grace 2s\n}\n"


@pytest.mark.parametrize("end", [Node.sigkill, Node.stop],
                         ids=["dead", "left"])
def test_route_unavailable_when_the_peer_s_node_is(end):
    """Not at once, only after the grace; the chat is gone, both its sides
    erased, and the node back later says so too."""
    with Mesh(2, GRACE) as mesh:
        a, b, _, _ = pair(mesh[0].app, mesh[1].app, "dead")
        flows(a, b, "dead", 1)
        end(mesh[1])
        status(a, "peer_away", "dead")
        assert a.deleted("dead") == "route_unavailable"
        assert mesh[0].show("ratchets") == []
        a.start("dead", b.identity, version=2)
        assert a.wait("error").code in (
            "UNKNOWN_APP", "ROUTE_UNAVAILABLE")
        a.close()
        b.close()


def test_revoked_node(frail):
    """hermesctl mesh revoke: its chats end with that word, it is let in no
    more, and its apps are not found."""
    a, b, _, _ = pair(frail[0].app, frail[1].app, "revoke")
    flows(a, b, "revoke", 1)
    frail[0].ctl("mesh", "revoke", "beta")
    for s in (a, b):
        assert s.deleted("revoke") == "revoked"
    until("beta is revoked", lambda: any(
        r["node_id"] == "beta" and r["state"] == "revoked"
        for r in frail[0].show("nodes")))
    assert frail[0].show("ratchets") == []
    until("its apps are gone", lambda: a.find(b.identity)[0] == "unknown")
    a.close()
    b.close()


def test_shutdown_tells_apps_where_else_to_go(frail):
    s = Session(frail[1].app)
    s.connect()
    peer = Session(frail[0].app)
    peer.connect()
    meet(s, peer)
    s.start("bye", peer.identity)
    peer.start("bye", s.identity)
    s.wait_ready("bye")
    peer.wait_ready("bye")
    frail[1].process.terminate()
    away = s.wait("go_away")
    assert away.reason == "shutdown"
    assert [(n.node_id, n.endpoint) for n in away.nodes] == [
        ("alpha", frail[0].app)]
    assert away.grace_nanos > 0
    status(peer, "peer_away", "bye")
    s.close()
    assert frail[1].process.wait(WAIT) == 0
    until("alpha knows that beta left", lambda: any(
        r["node_id"] == "beta" and r["state"] == "left"
        for r in frail[0].show("nodes")))
    peer.close()


def save_store(node, to):
    """A backup of keyd's folder, of a node that is stopped."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(node.config.parent / "keystore", to)


def put_back(node, saved):
    store = node.config.parent / "keystore"
    owner = store.stat()
    shutil.rmtree(store)
    shutil.copytree(saved, store)
    for path in (store, *store.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    store.chmod(0o700)


def has(session, *bodies):
    """Did such a frame come and wait to be taken?"""
    with session.changed:
        return any(f.WhichOneof("body") in bodies for f in session.frames)


def returned(node, session, name, peer):
    """The app of session again, after its node was started."""
    session.close()
    again = Session(node.app, session.identity)
    again.connect()
    again.start(name, peer.identity, resume=True)
    return again


def test_L13_an_old_store_is_noticed_and_recovered(frail, tmp_path):
    """A backup is put back under the node: counters are behind, the keys
    begin anew, both apps hear `reset`, and no message is lost."""
    name, saved = "backup", tmp_path / "keystore"
    a, b, _, _ = pair(frail[0].app, frail[1].app, name)
    flows(a, b, name, 1)
    assert frail[1].stop() == 0
    save_store(frail[1], saved)
    frail[1].start()
    b = returned(frail[1], b, name, a)
    b.wait_ready(name)
    for i in range(2, 40):
        flows(a, b, name, i)
    a.start(name, b.identity, rekey=True)
    version = a.wait("start_chat_ack").key_version
    b.message(name, 1, b"answer")
    assert a.received(name) == (1, b"answer")
    assert frail[1].stop() == 0
    put_back(frail[1], saved)
    frail[1].start()
    b = returned(frail[1], b, name, a)
    ack = b.wait_ready(name)
    # It was given all up to 39 and has sent 1, whatever its store says.
    assert ack.next_receive_sequence == 40
    assert ack.next_send_sequence == 2
    for s in (a, b):
        assert status(s, "reset", name).key_version > version
    flows(a, b, name, 40)
    flows(b, a, name, 2)
    assert sum(n.metric("hermes_ratchet_recoveries_total", "keyd")
               for n in frail.nodes) >= 1
    a.close()
    b.close()


def test_recoveries_are_throttled_and_then_fail_closed(tmp_path):
    """A store that goes back again and again: RATCHET_DESYNC to both apps,
    all keys of the chat erased, never silent."""
    name, saved = "desync", tmp_path / "keystore"
    with Mesh(2, "rekey {\n\tlimit 1\n\twindow 1h\n}\n") as mesh:
        a, b, _, _ = pair(mesh[0].app, mesh[1].app, name)
        flows(a, b, name, 1)
        assert mesh[1].stop() == 0
        save_store(mesh[1], saved)
        mesh[1].start()
        b = returned(mesh[1], b, name, a)
        b.wait_ready(name)
        over = False
        for sequence in range(2, 50):
            a.message(name, sequence, b"more")
            until("a message or the end", lambda: has(
                b, "chat_message", "delete_chat_ack"))
            if has(b, "delete_chat_ack"):
                over = True
                break
            assert b.received(name) == (sequence, b"more")
            if sequence % 5 != 0:
                continue
            assert mesh[1].stop() == 0
            put_back(mesh[1], saved)
            mesh[1].start()
            b = returned(mesh[1], b, name, a)
            until("ready or over", lambda: has(
                b, "start_chat_ack", "delete_chat_ack"))
        assert over and sequence > 5
        for s in (a, b):
            error = s.error("RATCHET_DESYNC")
            assert error.chat_id == name
            assert error.message.endswith("the chat ends")
            assert s.deleted(name) == "ratchet_desync"
        for node in mesh.nodes:
            until(f"{node.name} erased", lambda: not node.show("ratchets"))
        assert sum(n.metric(
            'hermes_ratchet_recoveries_total{result="throttled"}', "keyd")
            for n in mesh.nodes) >= 1
        a.close()
        b.close()


def test_restart_of_a_node_outside_any_mesh():
    """Apps of one node: a tieline to itself survives too."""
    with Node("alone") as node:
        with Cli("recv", node.app, "alone-b", "--chat", "c", "--check",
                 "--stay", "--count", 200, "--expect-restart", "--timeout",
                 100, Cli.id("alone-a")) as receiver, \
            Cli("send", node.app, "alone-a", "--chat", "c", "--count", 200,
                "--interval", "0.01", "--expect-restart", "--delete",
                "--timeout", 100, Cli.id("alone-b")) as sender:
            sender.wait("ACKED", 50)
            node.sigkill()
            node.start()
            sender.succeed(100)
            done = receiver.succeed(100)
            assert receiver.sequences("RECEIVED") == list(range(1, 201))
            assert done["gaps"] == 0
        assert node.show("ratchets") == []


def test_find_and_delete_of_the_command_line(mesh):
    from hermes_cli import hermes
    with Cli("recv", mesh[1].app, "line-b", "--chat", "line") as receiver:
        receiver.wait("CONNECTED")
        b = Cli.id("line-b")
        until("found", lambda: hermes(
            "find", "-n", mesh[0].app, "--seed", "line-a", "-q",
            b).stdout == f"{b} found beta\n")
        unknown = hermes("find", "-n", mesh[0].app, "--seed", "line-a",
                         Identity().id)
        assert unknown.returncode == 3 and " unknown -" in unknown.stdout
        ping = hermes("ping", "-n", mesh[0].app, "--seed", "line-a",
                      "--chat", "line", "-c", 5, "-i", "0.01", b)
        assert ping.returncode == 0
        assert "5 sent, 5 acknowledged" in ping.stdout
        assert "min/avg/max/stddev" in ping.stdout
        gone = hermes("delete", "-n", mesh[0].app, "--seed", "line-a",
                      "--chat", "line", b)
        assert gone.returncode == 0
        receiver.wait("DELETED")


def test_chat_of_two_people(mesh):
    """hermes chat on both sides, lines both ways, ended by one."""
    import subprocess
    from hermes_cli import HERMES
    people = []
    for node, own, other in ((mesh[0], "p-a", "p-b"), (mesh[1], "p-b",
                                                       "p-a")):
        people.append(subprocess.Popen(
            [HERMES, "chat", "-q", "-n", node.app, "--seed", own, "--chat",
             "people", Cli.id(other)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True))
    a, b = people
    try:
        for one, other, seed, text in ((a, b, "p-a", "hello"),
                                       (b, a, "p-b", "hello yourself")):
            one.stdin.write(text + "\n")
            one.stdin.flush()
            assert other.stdout.readline() == (
                f"{Cli.id(seed)[:12]} {text}\n")
        for one in people:
            one.stdin.close()
            assert one.wait(WAIT) == 0
    finally:
        for one in people:
            one.kill()


def test_chat_with_whoever_comes_first(mesh, tmp_path):
    """hermes chat without a peer: makes a key where none is, says what the
    other side types, takes the first who comes and sends the next away."""
    import subprocess
    from hermes_cli import HERMES

    def chat(node, home, *peer):
        return subprocess.Popen(
            [HERMES, "chat", "-n", node.app, *peer], text=True,
            env={"HOME": str(home)}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    homes = [tmp_path / name for name in "abc"]
    for home in homes:
        home.mkdir()
    people = [chat(mesh[0], homes[0])]
    try:
        lines = [people[0].stderr.readline() for _ in range(3)]
        assert lines[0] == \
            f"hermes: made your key, {homes[0]}/.hermes.key\n"
        own = lines[2].split()[-1]
        assert lines[2] == ("hermes: waiting; the other side types: "
                            f"hermes chat {own}\n")
        for home in homes[1:]:
            people.append(chat(mesh[1], home, own))
            if home is homes[1]:
                people[1].stdin.write("hello\n")
                people[1].stdin.flush()
                assert people[0].stdout.readline().endswith(" hello\n")
        assert people[2].wait(60) == 0
        people[0].stdin.write("still here\n")
        people[0].stdin.flush()
        assert people[1].stdout.readline() == f"{own[:12]} still here\n"
        for one in people[:2]:
            one.stdin.close()
            assert one.wait(WAIT) == 0
    finally:
        for one in people:
            one.kill()
    run = subprocess.run([HERMES, "id"], env={"HOME": str(homes[0])},
                         capture_output=True, text=True)
    assert run.stdout == own + "\n"


@pytest.mark.parametrize("pin", ["right", "wrong"])
def test_pin_of_a_real_node(mesh, pin):
    from hermes_cli import hermes
    key = mesh[0].ctl("show")["summary"]["node_key"]
    if pin == "wrong":
        key = mesh[1].ctl("show")["summary"]["node_key"]
    run = hermes("find", "-n", mesh[0].app, "--seed", "pin", "--pin", key,
                 Cli.id("pin"))
    assert run.returncode == (0 if pin == "right" else 2), run.stderr


def test_certificate_of_a_real_node_as_ca(mesh, tmp_path):
    from hermes_cli import hermes
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    good.write_text(mesh[0].ctl("show", "certificate")["certificate"])
    bad.write_text(mesh[1].ctl("show", "certificate")["certificate"])
    for path, code in ((good, 0), (bad, 2)):
        run = hermes("find", "-n", mesh[0].app, "--seed", "ca", "--ca",
                     path, Cli.id("ca"))
        assert run.returncode == code, run.stderr


def test_heartbeat_of_pb_is_what_was_sent(mesh):
    with Session(mesh[0].app) as s:
        s.connect()
        s.send(pb.Heartbeat(timestamp_nanos=2**63 - 1))
        assert s.wait("heartbeat").timestamp_nanos == 2**63 - 1


def test_deleted_while_the_peer_s_node_was_dead(frail):
    """The node that comes back still has the chat; it hears that it ended,
    and so does its app."""
    name = "away"
    a, b, _, _ = pair(frail[0].app, frail[1].app, name)
    flows(a, b, name, 1)
    frail[1].sigkill()
    status(a, "peer_away", name)
    a.delete(name)
    assert a.deleted(name) == "deleted"
    frail[1].start()
    until("beta erased", lambda: frail[1].show("ratchets") == [])
    again = Session(frail[1].app, b.identity)
    again.connect()
    again.start(name, a.identity, resume=True, version=1)
    again.error("REPLAYED_KEY")
    for s in (a, b, again):
        s.close()


def test_late_comer_hears_the_same_word():
    """Its node was dead for the end and long after; when it asks for the
    chat it hears the word that the other side heard."""
    with Node("alpha") as alpha, Node("beta") as beta:
        join(alpha, beta)
        name = "late"
        a, b, _, _ = pair(alpha.app, beta.app, name)
        flows(a, b, name, 1)
        beta.sigkill()
        now_with(alpha, IDLE)
        assert a.deleted(name) == "expired"
        b.close()
        # Nothing is left in memory that would tell it by itself.
        alpha.sigkill()
        a.close()
        for node in (alpha, beta):
            node.spawn()
        for node in (alpha, beta):
            node.wait_ready()
        assert [row["chat_id"] for row in beta.show("ratchets")] == [name]
        with Session(alpha.app, a.identity) as one, \
                Session(beta.app, b.identity) as two:
            one.connect()
            two.connect()
            two.start(name, a.identity, resume=True, version=1)
            assert two.deleted(name) == "expired"
        assert beta.show("ratchets") == []
