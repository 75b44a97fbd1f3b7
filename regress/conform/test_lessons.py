"""Faults of earlier systems that need a hostile node, or a look into other
processes' memory. Those that an app alone can provoke are in test_chat.py
and test_connect.py."""

import os
import pathlib
import queue
import hashlib
import re
import struct

import grpc
import nacl.signing
import pytest

from hermes_node import Mesh, until
from hermes_wire import (Identity, Session, connect_bytes, meet, mesh_pb,
                         pair)
from mallory import Mallory, Route, attestation, handle
from mesh_member import Member, descriptor_bytes, now_nanos

CHUNK = 1 << 24  # bytes of memory looked at together
NAMES = iter(f"lesson-{i}" for i in range(1, 10**6))


# --- L01: no private key is asked for, taken, or kept ------------------------

def test_L01_no_private_key_in_the_contract():
    from hermes_wire import pb
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        assert not [f.name for f in message.fields if "private" in f.name]


def test_L01_field_7_is_not_kept(mesh, sessions):
    """A v1 app may still send it: it is in no process's memory after."""
    a, b = sessions(mesh[0].app), sessions(mesh[1].app)
    a.connect()
    b.connect()
    meet(a, b)
    name, secret = next(NAMES), os.urandom(32)
    from hermes_wire import pb
    body = pb.StartChat(chat_id=name, target_app_id=b.identity.id
                        ).SerializeToString() + b"\x3a\x20" + secret
    a.send_raw(bytes([0x22, 0x80 | len(body) & 0x7f, len(body) >> 7]) + body)
    b.wait("start_chat")
    b.start(name, a.identity)
    a.wait_ready(name)
    for i in range(1, 40):  # buffers that were read into are used again
        a.message(name, i, os.urandom(4096))
        b.received(name)
    for node in mesh.nodes:
        for process, pid in node.pids().items():
            assert not holds(pid, secret), (node.name, process)


# --- L02: what is in flight is seen by no mesh process -----------------------

def holds(pid, needle):
    """Is needle in the writable memory of that process?"""
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps.splitlines():
            span, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            start, end = (int(x, 16) for x in span.split("-"))
            if end - start > 1 << 36:
                continue  # a sanitizer's shadow
            for at in range(start, end, CHUNK):
                try:
                    memory.seek(at)
                    data = memory.read(min(CHUNK + len(needle), end - at))
                except (OSError, ValueError, OverflowError):
                    continue
                if needle in data:
                    return True
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="reads other users' memory")
def test_L02_mesh_sees_no_payload(mesh, sessions):
    """While a payload that we know is on its way and stuck before a slow
    reader, both routers hold it and neither mesh process does."""
    name = next(NAMES)
    a, b, _, _ = pair(mesh[0].app, mesh[1].app, name)
    needle = os.urandom(32)
    b.paused.clear()
    for i in range(1, 257):
        a.message(name, i, needle * 128)
    a.ping()
    receiving = mesh[1].pids()
    until("payload at the receiving router",
          lambda: holds(receiving["router"], needle))
    sending = mesh[0].pids()
    assert holds(sending["router"], needle)  # the search finds what is there
    for pids in (sending, receiving):
        assert not holds(pids["mesh"], needle)
        assert not holds(pids["control"], needle)
        assert not holds(pids["parent"], needle)
    b.paused.set()
    for i in range(1, 257):
        assert b.received(name) == (i, needle * 128)
    for pids in (sending, receiving):
        assert not holds(pids["mesh"], needle)
    a.close()
    b.close()


# --- a member of the mesh that lies ------------------------------------------

@pytest.fixture(scope="module")
def lied_to():
    """A mesh of its own: a node that never answers probes is in it."""
    with Mesh(2) as two:
        mallory = Mallory(two, "mallory")
        yield two, mallory
        mallory.close()
        for node in two.nodes:
            assert node.healthy(), node.log()[-4000:]


def refusals(node):
    return node.metric("hermes_mesh_refused_total")


@pytest.mark.parametrize("kind", ["teardown_tieline", "relay_message",
                                  "relay_ack", "error", "credit",
                                  "setup_tieline"])
def test_L16_forged_route_frames(lied_to, kind):
    """Another member's frames about a chat of two others change nothing and
    are counted."""
    mesh, mallory = lied_to
    name = next(NAMES)
    a, b, _, _ = pair(mesh[0].app, mesh[1].app, name)
    h = handle(name, a.identity, b.identity)
    bodies = {
        "teardown_tieline": mesh_pb.TeardownTieline(
            chat_id=name, handle=h, reason="deleted", key_version=9),
        "relay_message": mesh_pb.RelayMessage(
            chat_id=name, handle=h, sequence=1, key_version=1, counter=0,
            payload=os.urandom(64)),
        "relay_ack": mesh_pb.RelayAck(chat_id=name, handle=h, sequence=1),
        "error": mesh_pb.RouteError(chat_id=name, handle=h,
                                    code="RATCHET_DESYNC"),
        "credit": mesh_pb.Credit(handle=h, messages=1, bytes=1),
        "setup_tieline": mesh_pb.SetupTieline(
            chat_id=name, source_app_id=a.identity.id,
            target_app_id=b.identity.id, source_node_id="alpha",
            key_version=2, rekey=True, offer=os.urandom(352),
            resume=mesh_pb.Resume())}
    before = [refusals(node) for node in mesh.nodes]
    routes = [Route(channel) for channel in mallory.to]
    for route in routes:
        route.say(**{kind: bodies[kind]})
    for node, count in zip(mesh.nodes, before):
        until(f"{node.name} counted the forgery",
              lambda: refusals(node) > count)
    a.message(name, 1, b"still")
    assert b.received(name) == (1, b"still")
    a.acked(name, 1)
    b.message(name, 1, b"here")
    assert a.received(name) == (1, b"here")
    assert a.none("error") and b.none("error")
    assert a.none("delete_chat_ack") and b.none("delete_chat_ack")
    for route in routes:
        route.close()
    a.close()
    b.close()


def test_L16_frames_naming_another_sender(lied_to):
    mesh, mallory = lied_to
    route = Route(mallory.to[0])
    before = refusals(mesh[0])
    route.say(setup_tieline=mesh_pb.SetupTieline(
        chat_id="x", source_app_id=Identity().id, target_app_id=Identity().id,
        source_node_id="beta", source_public_key=bytes(32), key_version=1,
        offer=os.urandom(352)))
    until("refused", lambda: refusals(mesh[0]) > before or
          route.status == grpc.StatusCode.PERMISSION_DENIED or
          any(f.WhichOneof("body") == "error" for f in route.heard))
    route.close()


def test_L18_nobody_gossips_in_another_s_name(lied_to):
    _, mallory = lied_to
    frames = queue.SimpleQueue()
    call = Member.gossip(mesh_pb, mallory.to[0], iter(frames.get, None))
    frames.put(mesh_pb.GossipMessage(heartbeat=mesh_pb.Heartbeat(
        node_id="beta", timestamp_nanos=2**62)))
    with pytest.raises(grpc.RpcError) as error:
        for _ in call:
            pass
    assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED
    frames.put(None)


def test_what_a_node_does_not_know_of_another(lied_to):
    """Fields are passed over, a body is answered under its correlation_id."""
    _, mallory = lied_to
    route = Route(mallory.to[0])
    known = mesh_pb.RouteFrame(relay_ack=mesh_pb.RelayAck(chat_id="x"))
    for unknown in (known.SerializeToString() + b"\xfa\x06\3abc",
                    b"\x0a\1c\x4a\1x"):
        route.frames.put(mesh_pb.RouteFrame.FromString(unknown))

    def errors():
        return [f for f in list(route.heard)
                if f.WhichOneof("body") == "error"]
    answer, = until("an answer", errors)
    assert (answer.correlation_id, answer.error.code) == ("c", "UNSUPPORTED")
    assert route.status is None
    route.close()


def test_L17_a_name_belongs_to_its_key(lied_to):
    """A ticket does not buy a name that is taken, nor one's own twice."""
    mesh, mallory = lied_to
    for name in ("beta", "alpha", "mallory"):
        thief = Member(name)
        ticket = mesh[0].ctl("ticket", "--ttl", "1h")["ticket"]
        host, port = mesh[0].mesh.rsplit(":", 1)
        channel = thief.channel(host, int(port))
        with pytest.raises(grpc.RpcError) as error:
            thief.join(mesh_pb, channel, ticket)
        assert error.value.code() in (grpc.StatusCode.ALREADY_EXISTS,
                                      grpc.StatusCode.PERMISSION_DENIED)
        channel.close()
    keys = {row["node_id"]: row["node_key"] for row in mesh[0].show("nodes")}
    assert keys["beta"] == mesh[1].ctl("show")["summary"]["node_key"]


def test_ticket_is_used_up_forged_and_expired(lied_to):
    mesh, _ = lied_to
    host, port = mesh[0].mesh.rsplit(":", 1)

    def attempt(member, ticket):
        channel = member.channel(host, int(port))
        try:
            member.join(mesh_pb, channel, ticket)
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()
        finally:
            channel.close()
    ticket = mesh[0].ctl("ticket", "--ttl", "1h", "--uses", "1")["ticket"]
    assert attempt(Member("once"), ticket) == grpc.StatusCode.OK
    assert attempt(Member("twice"), ticket) != grpc.StatusCode.OK
    short = mesh[0].ctl("ticket", "--ttl", "1s")["ticket"]
    until("ticket expired", lambda: attempt(
        Member(f"late-{now_nanos()}"), short) != grpc.StatusCode.OK)


def test_who_joins_is_told_who_is_there(lied_to):
    """Everything of JoinResponse, and all of it proven by who it is of."""
    mesh, _ = lied_to
    app = Session(mesh[0].app)
    app.connect()
    host, port = mesh[0].mesh.rsplit(":", 1)

    member = Member("newcomer")
    channel = member.channel(host, int(port))
    answer = member.join(
        mesh_pb, channel, mesh[0].ctl("ticket", "--ttl", "1h")["ticket"])
    channel.close()
    nodes = {row["node_id"]: row["node_key"] for row in mesh[0].show("nodes")}
    assert answer.self.node_id == "alpha"
    assert hashlib.sha256(answer.authority_key).hexdigest() == \
        app.challenge.mesh_id
    assert answer.certificate
    assert {"beta"} <= {n.node_id for n in answer.membership}
    for one in (answer.self, *answer.membership):
        assert one.identity_key.hex() == nodes[one.node_id]
        nacl.signing.VerifyKey(one.identity_key).verify(
            descriptor_bytes(one), one.signature)
    mine, = [a for a in answer.apps if a.app_id == app.identity.id]
    assert (mine.node_id, mine.session_id, mine.departed) == (
        "alpha", app.ack.assigned_session_id, False)
    assert 0 < mine.connected_at_nanos <= now_nanos()
    issued, expires = struct.unpack(">qq", mine.attestation[161:177])
    app.identity.key.verify_key.verify(connect_bytes(
        app.challenge.node_public_key, app.challenge.nonce, "alpha", issued,
        expires, {}), mine.attestation[-64:])
    app.close()


@pytest.mark.parametrize("lie", ["none", "signature", "node", "stolen"])
def test_L19_an_app_belongs_to_whom_it_signed_for(lied_to, lie):
    """mallory claims beta's app: with nothing, with a signature of its own,
    and with the attestation the app made for beta."""
    mesh, mallory = lied_to
    app, watcher = Session(mesh[1].app), Session(mesh[0].app)
    app.connect()
    watcher.connect()

    def place():
        from hermes_wire import pb
        watcher.send(pb.FindApp(target_app_id=app.identity.id))
        return watcher.wait("find_app_result").node_id
    until("app known", lambda: place() == "beta")
    beta_key = app.challenge.node_public_key
    blob = {
        "none": b"",
        "signature": attestation(app.identity, mallory.member.node_key,
                                 "mallory", Identity()),
        "node": attestation(app.identity, beta_key, "mallory"),
        "stolen": attestation(app.identity, beta_key, "beta")}[lie]
    before = refusals(mesh[0])
    sync = mallory.member.app_sync(mesh_pb, [mesh_pb.AppRegistration(
        app_id=app.identity.id, node_id="mallory", session_id="0" * 32,
        connected_at_nanos=now_nanos(), attestation=blob, sequence=1)])
    frames = queue.SimpleQueue()
    call = Member.gossip(mesh_pb, mallory.to[0], iter(frames.get, None))
    frames.put(mesh_pb.GossipMessage(app_sync=sync))
    until("the claim was refused", lambda: refusals(mesh[0]) > before)
    assert place() == "beta"
    frames.put(None)
    call.cancel()
    app.close()
    watcher.close()


def test_logs_hold_no_payload_and_no_hostile_text(mesh, sessions):
    """L26: what apps say is in no log raw."""
    a, b = sessions(mesh[0].app), sessions(mesh[1].app)
    a.connect({"name": "log\ninjection"})
    b.connect()
    meet(a, b)
    name = next(NAMES)
    a.start(name, b.identity)
    b.start(name, a.identity)
    a.wait_ready(name)
    a.message(name, 1, b"payload-in-a-log")
    b.received(name)
    a.delete(name, reason="reason\ninjection")
    a.deleted(name)
    for node in mesh.nodes:
        log = node.log()
        assert "payload-in-a-log" not in log
        assert not re.search(r"^injection", log, re.M)
