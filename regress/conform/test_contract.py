"""The contract where no other suite holds it: all its numbers and types, its
limits and one beyond them, and calls that break off anywhere."""

import json
import os
import re
import signal
import time

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor as Field

from h2_attacker import (CANCEL, DATA, GOAWAY, PING, Attacker, frame, message,
                         request)
from h2_attacker import HEADERS as HEADERS_FRAME
from hermes_node import DEFAULTS, Node, free_ports, until
from hermes_wire import (WAIT, Closed, Identity, Session, meet, pair, pb,
                         protos, server_certificate)
from mesh_member import Member
from test_chat import (NAMES, apps, chat, flows,  # noqa: F401
                       standing_still)

CODE = grpc.StatusCode

# --- numbers and types ------------------------------------------------------

# As the contract has them. What it does not name is in ADDED.
APP = """
AppFrame: correlation_id=1 connect=2 connect_ack=3 start_chat=4
    start_chat_ack=5 chat_message=6 chat_message_ack=7 delete_chat=8
    delete_chat_ack=9 error=10 heartbeat=11 find_app=12 find_app_result=13
    challenge=14 chat_status=15 go_away=16
Connect: app_public_key=1 signature=2 node_id=3 metadata=4 nonce=5
    issued_at=6 expires_at=7
ConnectAck: assigned_session_id=1 node_id=2 node_public_key=3 nodes=4
    max_message_size=5 chat_window=6
StartChat: chat_id=1 local_ephemeral_public_key=2 signature=3 metadata=4
    target_app_id=5 target_node_hint=6 key_version=8 hkdf_salt=9 hkdf_info=10
    rekey=11 source_app_id=12 resume=13
StartChatAck: chat_id=1 key_version=2 resumed=3 next_send_sequence=4
    next_receive_sequence=5 peer_app_id=20
ChatMessage: chat_id=1 payload=2 sequence=3 peer_app_id=20
ChatMessageAck: chat_id=1 sequence=2 peer_app_id=20
DeleteChat: chat_id=1 reason=2 peer_app_id=20
DeleteChatAck: chat_id=1 status=2 peer_app_id=20
Error: code=1 message=2 chat_id=3 expected_sequence=4 retry_after_nanos=5
    peer_app_id=20
Heartbeat: timestamp_nanos=1
FindApp: target_app_id=1 target_node_hint=2
FindAppResult: target_app_id=1 node_id=2 status=3
Challenge: nonce=1 node_id=2 node_public_key=3 mesh_id=4 signature=5
ChatStatus: chat_id=1 status=2 key_version=3 peer_app_id=20
GoAway: reason=1 nodes=2 grace_nanos=3
"""
MESH = """
NodeDescriptor: node_id=1 endpoint=2 identity_key=3 wallet=4 metadata=5
    incarnation=6 tls_spki_sha256=7 certificate=8 signature=9 capabilities=10
AppRegistration: app_id=1 node_id=2 session_id=3 metadata=4
    connected_at_nanos=5 attestation=6 departed=7 sequence=8
JoinRequest: node=1 nonce=2 signature=3 apps=4 ticket_secret=5 ticket=6
JoinResponse: self=1 membership=2 apps=3 certificate=4 authority_key=5
GossipMessage: heartbeat=1 membership=2 app_sync=3 ping=4 ping_req=5 ack=6
    nack=7 push_pull=8 revocation=9
MembershipEvent: type=1 node=2 incarnation=3 accuser=4 signature=5
AppSync: node_id=1 apps=2 sequence=3 full=4 signature=5
RouteFrame: correlation_id=1 setup_tieline=2 relay_message=3
    teardown_tieline=4 error=5 relay_ack=6 credit=7
SetupTieline: chat_id=1 source_app_id=2 target_app_id=3
    source_ephemeral_key=4 signature=5 metadata=6 source_node_id=7
    source_public_key=8 key_version=9 hkdf_salt=10 hkdf_info=11 rekey=12
    offer=13 resume=14
RelayMessage: chat_id=1 payload=2 sequence=3 handle=4 key_version=5 counter=6
RelayAck: chat_id=1 sequence=2 handle=3
TeardownTieline: chat_id=1 reason=2 handle=3
RouteError: code=1 message=2 chat_id=3 handle=4
"""
ADDED = {
    "Connect": {"arrived": 8},
    "StartChat": {"next_send_sequence": 14, "next_receive_sequence": 15,
                  "instance": 16},
    "StartChatAck": {"instance": 6},
    "DeleteChatAck": {"instance": 3},
    "TeardownTieline": {"key_version": 4, "instance": 5},
    "RouteError": {"retry_after_nanos": 5},
}
# Messages that the contract names without their fields.
INNER = {"NodeHint", "Heartbeat", "Ping", "PingReq", "Ack", "Nack",
         "AppDigest", "PushPull", "Revocation", "Resume", "Credit"}

STRING, BYTES = Field.TYPE_STRING, Field.TYPE_BYTES
# "Ids and words are string, keys, signatures and payloads bytes, ..."
TYPES = [
    (r".*_id|correlation_id|status|code|message|reason|accuser|endpoint|"
     r"wallet|target_node_hint|capabilities", STRING),
    (r".*_key|.*_public_key|signature|payload|nonce|hkdf_.*|offer|handle|"
     r"instance|certificate|attestation|ticket|ticket_secret|"
     r"tls_spki_sha256", BYTES),
    (r"key_version|chat_window", Field.TYPE_UINT32),
    (r".*sequence|incarnation|counter|max_message_size", Field.TYPE_UINT64),
    (r".*_nanos|issued_at|expires_at", Field.TYPE_INT64),
    (r"rekey|resume|resumed|arrived|departed|full", Field.TYPE_BOOL),
]


def listed(text):
    """{message: {field: number}}"""
    return {name: {field: int(number) for field, number in
                   re.findall(r"(\w+)=(\d+)", fields)}
            for name, fields in re.findall(
                r"^(\w+): (.*(?:\n .*)*)", text, re.M)}


def field_type(field):
    """What its name says it is; None: a message or an enumeration."""
    if field.type in (Field.TYPE_MESSAGE, Field.TYPE_ENUM):
        return field.type
    found = {kind for pattern, kind in TYPES
             if re.fullmatch(pattern, field.name)}
    assert len(found) == 1, (field.name, found)
    return found.pop()


@pytest.mark.parametrize("module, text", [("approuter", APP),
                                          ("nodemesh", MESH)])
def test_numbers_never_move(module, text):
    there = getattr(protos, module).DESCRIPTOR.message_types_by_name
    contract = listed(text)
    for name, fields in contract.items():
        expected = {**fields, **ADDED.get(name, {})}
        assert {f.name: f.number for f in there[name].fields} == expected
    assert set(there) - set(contract) <= INNER
    for one in there.values():
        for field in one.fields:
            if one.name == "MembershipEvent" and field.name == "type":
                continue
            if one.name in contract:
                assert field.type == field_type(field), (
                    one.name, field.name)
            if field.name == "metadata":
                entry = field.message_type.fields_by_name
                assert {f.type for f in entry.values()} == {STRING}


def test_number_of_a_private_key_stays_free():
    proto = descriptor_pb2.DescriptorProto()
    pb.StartChat.DESCRIPTOR.CopyToProto(proto)
    assert [(r.start, r.end) for r in proto.reserved_range] == [(7, 8)]


def test_events_of_membership():
    values = protos.nodemesh.MembershipEvent.Type
    assert {k: values.Value(k) for k in values.keys()} == {
        "UNSPECIFIED": 0, "JOIN": 1, "LEAVE": 2, "FAIL": 3, "SUSPECT": 4,
        "ALIVE": 5}


def shape(file):
    """What of a file is on the wire."""
    return ({one.name: {f.name: (f.number, f.type, f.label, f.type_name)
                        for f in one.field} for one in file.message_type},
            [(one.name, [(m.name, m.input_type, m.output_type,
                          m.client_streaming, m.server_streaming)
                         for m in one.method]) for one in file.service])


@pytest.mark.parametrize("listener, file, service", [
    ("app", "approuter", "approuter.v1.AppRouter"),
    ("mesh", "nodemesh", "nodemesh.v1.NodeMesh")])
def test_a_node_says_these_numbers_itself(mesh, listener, file, service):
    """By reflection, so that generic tools need no file; and each service has
    its health, which members and strangers may ask for."""
    host, port = getattr(mesh[0], listener).rsplit(":", 1)
    channel = (Member("stranger").channel(host, int(port))
               if listener == "mesh" else grpc.secure_channel(
                   mesh[0].app, grpc.ssl_channel_credentials(
                       server_certificate(mesh[0].app).encode())))
    module, health = protos.reflection_v1, protos.health
    with channel:
        call = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=module.ServerReflectionRequest
            .SerializeToString,
            response_deserializer=module.ServerReflectionResponse.FromString)
        names, answer = call(iter([module.ServerReflectionRequest(
            list_services=""), module.ServerReflectionRequest(
                file_by_filename=f"{file}.proto")]), timeout=WAIT)
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health.HealthCheckRequest.SerializeToString,
            response_deserializer=health.HealthCheckResponse.FromString)
        assert check(health.HealthCheckRequest(service=service), timeout=WAIT
                     ).status == health.HealthCheckResponse.SERVING
    assert service in {
        one.name for one in names.list_services_response.service}
    said = descriptor_pb2.FileDescriptorProto.FromString(
        answer.file_descriptor_response.file_descriptor_proto[0])
    own = descriptor_pb2.FileDescriptorProto()
    getattr(protos, file).DESCRIPTOR.CopyToProto(own)
    assert shape(said) == shape(own)


# --- metadata, names and sizes at their limits ------------------------------

def metadata_of(size, entries=1):
    """So many bytes of keys and values, in so many entries."""
    keys = [f"k{i:02}" for i in range(entries)]
    values = dict.fromkeys(keys, "")
    values[keys[0]] = "v" * (size - 3 * entries)
    return values


@pytest.mark.parametrize("metadata, good", [
    (metadata_of(4096), True), (metadata_of(4097), False),
    (metadata_of(300, 64), True), (metadata_of(300, 65), False),
    (metadata_of(4000, 1000), False),
    ({"": ""}, True), ({"": "v", "k": ""}, True),
    ({"b": "1", "a": "2", "ab": "3", "B": "4", "\u00e9": "5", "z": "6",
      "\U0001f600": "7", "\uffff": "8"}, True)],
    ids=["4096", "4097", "64", "65", "1000", "empty", "half", "order"])
def test_metadata_at_its_limits(apps, metadata, good):
    a, b, name = apps
    with Session(b.address) as s:
        s.check_challenge()
        s.send(s.connect_frame(metadata))
        if good:
            s.wait("connect_ack")
            s.ping()
        else:
            assert s.wait_closed() == CODE.RESOURCE_EXHAUSTED, s.details
            assert "metadata" in s.details
    a.start(name, b.identity, metadata=metadata, correlation="m")
    if good:
        offer = b.wait("start_chat", lambda o: o.chat_id == name)
        assert dict(offer.metadata) == metadata
    else:
        error = a.error("LIMIT_REACHED")
        assert (error.chat_id, a.last_correlation) == (name, "m")


@pytest.mark.parametrize("chat_id", [
    "x" * 128, "\u00e9" * 64, "\u20ac" * 42 + "ab", "\U0001f600" * 32,
    " ", "a b", "\\ \" ' ; -- %s $(x) ../..", "\u202e\ufeff\u00a0", "\uffff",
    "\U0010ffff"], ids=ascii)
def test_odd_names_are_names(apps, chat_id):
    """Ready, spoken in, and ended at both ends under it, byte for byte."""
    a, b, _ = apps
    a.start(chat_id, b.identity)
    assert b.wait("start_chat").chat_id == chat_id
    b.start(chat_id, a.identity)
    for s in (a, b):
        s.wait_ready(chat_id)
    flows(a, b, chat_id)
    a.delete(chat_id)
    assert a.deleted(chat_id) == "deleted"
    assert b.deleted(chat_id) == "deleted_by_peer"


@pytest.mark.parametrize("chat_id", [
    "", "x" * 129, "\u00e9" * 64 + "x", "\U0001f600" * 32 + "x", "\x7f",
    "a\u0080", "\u009fa", "a\x1b[m", "\t"], ids=ascii)
def test_what_is_no_name(apps, chat_id):
    a, b, _ = apps
    a.start(chat_id, b.identity, correlation="n")
    error = a.error("INVALID_FRAME")
    assert error.message.startswith("chat_id is not 1 to 128 bytes")
    assert a.last_correlation == "n"
    assert error.chat_id == (
        chat_id if len(chat_id.encode()) <= 128 else "")
    # None of these is a chat of anybody.
    for say in (lambda: a.message(chat_id, 1, b"x"),
                lambda: a.delete(chat_id)):
        say()
        a.error("CHAT_NOT_FOUND")


def test_correlation_id_at_its_limit(apps):
    a, _, _ = apps
    a.send(pb.Heartbeat(timestamp_nanos=1), correlation="\u00e9" * 64)
    a.wait("heartbeat")
    assert a.last_correlation == "\u00e9" * 64
    a.send(pb.Heartbeat(timestamp_nanos=1), correlation="x" * 129)
    assert "correlation_id is too long" in a.error("INVALID_FRAME").message
    assert a.last_correlation == ""
    with Session(a.address) as s:
        s.check_challenge()
        s.send(s.connect_frame(), correlation="x" * 129)
        assert s.wait_closed() == CODE.INVALID_ARGUMENT


def test_node_hint_at_its_limit(apps):
    a, b, name = apps
    a.start(name, b.identity, target_node_hint="n" * 63)
    a.error("TARGET_NOT_FOUND")
    a.start(name, b.identity, target_node_hint="n" * 64)
    assert a.error("INVALID_FRAME").message.startswith("target_node_hint")


def test_a_reason_may_be_long(chat):
    """It is nobody's but the app's: it goes nowhere."""
    a, b, name = chat
    a.delete(name, reason="because " * 100000)
    assert a.deleted(name) == "deleted"
    assert b.deleted(name) == "deleted_by_peer"


def test_start_chat_at_its_limit(apps):
    """Salt and info up to 16 KiB of frame, and what is beyond that, is said;
    the largest one goes all the way to the peer."""
    a, b, name = apps
    rest = pb.StartChat(chat_id=name, target_app_id=b.identity.id,
                        source_app_id=a.identity.id,
                        hkdf_salt=b"s" * 10000).ByteSize() - 10000
    most = os.urandom(16384 - rest)
    a.start(name, b.identity, hkdf_salt=most + b"x")
    error = a.error("INVALID_FRAME")
    assert (error.message, error.chat_id) == ("fields are too large", name)
    a.start(name, b.identity, hkdf_salt=most)
    assert b.wait("start_chat").hkdf_salt == most
    b.start(name, a.identity)
    a.wait_ready(name)
    b.wait_ready(name)
    flows(a, b, name)


def test_times_out_of_range(node, sessions):
    for issued, expires in ((-1, 2**62), (2**63 - 1, 2**63 - 1),
                            (-2**63, 2**63 - 1), (0, 24 * 3600 * 10**9),
                            (time.time_ns(), -2**63)):
        s = sessions(node.app)
        s.check_challenge()
        s.send(s.connect_frame(issued=issued, expires_at=expires))
        assert s.wait_closed() == CODE.UNAUTHENTICATED
        assert s.details.startswith("issued_at or expires_at"), s.details
    sessions(node.app).connect(life=24 * 3600)


def test_versions_out_of_range(chat):
    """A number of more than 32 bits is read as protobuf reads it."""
    a, b, name = chat
    start = pb.StartChat(chat_id=name, target_app_id=b.identity.id,
                         rekey=True).SerializeToString()
    body = start + b"\x40\x82\x80\x80\x80\x10"  # key_version 2^32 + 2
    a.send_raw(bytes([0x22, 0x80 | len(body) & 0x7f, len(body) >> 7]) + body)
    assert a.wait_ready(name).key_version == 2


def test_sixteen_invalid_frames_are_borne(node, sessions):
    s = sessions(node.app)
    s.connect()
    for _ in range(16):
        s.send_raw(b"\xff\xff")
    for _ in range(16):
        s.error("INVALID_FRAME")
    s.ping()
    s.send(pb.FindApp(target_app_id="x"))
    assert s.wait_closed() == CODE.INVALID_ARGUMENT
    assert s.details == "too many invalid frames"


def test_how_large_is_answered_and_how_large_ends_it(node, sessions):
    """A payload up to twice the limit is MESSAGE_TOO_LARGE; a frame beyond
    that and 64 KiB ends the stream, and it alone."""
    s, other = sessions(node.app), sessions(node.app)
    s.connect()
    other.connect()
    largest = 2 * s.ack.max_message_size
    s.send(pb.ChatMessage(chat_id="c", sequence=1, payload=bytes(largest),
                          peer_app_id=other.identity.id), correlation="big")
    error = s.error("MESSAGE_TOO_LARGE")
    assert (error.chat_id, error.peer_app_id, s.last_correlation) == (
        "c", other.identity.id, "big")
    s.message("c", 1, bytes(largest + 65536))
    assert s.wait_closed() == CODE.RESOURCE_EXHAUSTED
    other.ping()


# --- errors name their place ------------------------------------------------

def test_errors_name_the_chat_and_its_peer(places, sessions):
    """Of two chats with one name it is said which, whatever is refused."""
    a = sessions(places[0])
    b, c = (sessions(places[1]) for _ in range(2))
    name, key = next(NAMES), os.urandom(32)
    for s in (a, b, c):
        s.connect()
    meet(a, b, c)
    for peer in (b, c):
        a.start(name, peer.identity)
        peer.start(name, a.identity)
        a.wait_ready(name)
        peer.wait_ready(name)
    who = c.identity.id
    big = bytes(a.ack.max_message_size + 1)
    gone = Identity().id

    def start(**fields):
        a.start(name, fields.pop("peer", who), correlation="e", **fields)

    def say(peer=who, sequence=1, payload=b"x"):
        a.send(pb.ChatMessage(chat_id=name, sequence=sequence,
                              payload=payload, peer_app_id=peer), "e")
    for code, peer, doing in (
            ("INVALID_KEY", who, lambda: start(key=b"short")),
            ("AUTH_FAILED", who, lambda: start(key=key, signature=b"")),
            ("LIMIT_REACHED", who,
             lambda: start(metadata={"k": "v" * 5000})),
            ("INVALID_FRAME", who, lambda: start(source_app_id="ab" * 32)),
            ("INVALID_FRAME", who, lambda: start(rekey=True, version=9)),
            ("REPLAYED_KEY", who, lambda: start(rekey=True, version=1)),
            ("UNKNOWN_APP", gone, lambda: start(peer=gone)),
            ("TARGET_NOT_FOUND", gone, lambda: start(
                peer=gone, target_node_hint="nowhere")),
            ("MESSAGE_TOO_LARGE", who, lambda: say(payload=big)),
            ("OUT_OF_SEQUENCE", who, lambda: say(sequence=7)),
            ("CHAT_NOT_FOUND", gone, lambda: say(peer=gone)),
            ("CHAT_NOT_FOUND", gone,
             lambda: a.delete(name, peer=gone, correlation="e")),
            ("AMBIGUOUS_CHAT", "", lambda: say(peer=""))):
        doing()
        error = a.error(code)
        assert (error.chat_id, error.peer_app_id, a.last_correlation) == (
            name, peer, "e"), code
        assert error.message, code
    a.send(pb.ChatMessage(chat_id=name, sequence=1, payload=b"x",
                          peer_app_id=who))
    assert c.received(name) == (1, b"x")
    assert b.none("chat_message")


def test_answers_name_the_peer(chat):
    """All frames about a chat, asked for or not."""
    a, b, name = chat
    a.start(name, b.identity, rekey=True)
    a.message(name, 1, b"x")
    said = [(a, b, a.wait("start_chat_ack")), (b, a, b.wait("chat_status")),
            (b, a, b.wait("chat_message")), (a, b, a.wait("chat_message_ack"))]
    a.delete(name)
    said += [(s, t, s.wait("delete_chat_ack")) for s, t in ((a, b), (b, a))]
    for _, peer, body in said:
        assert (body.chat_id, body.peer_app_id) == (name, peer.identity.id)


def test_what_came_too_fast_is_named(sessions):
    """StartChat and DeleteChat as well as messages."""
    with Node("fast", extra="limits { messages per second 1 }\n") as one:
        s = sessions(one.app)
        s.connect()
        peer = Identity().id
        bodies = {
            "start": pb.StartChat(chat_id="c", target_app_id=peer),
            "delete": pb.DeleteChat(chat_id="c", peer_app_id=peer),
            "say": pb.ChatMessage(chat_id="c", peer_app_id=peer, sequence=1)}
        told = {}
        for _ in range(30):
            for word, body in bodies.items():
                s.send(body, correlation=word)
        while set(told) != set(bodies):
            error = s.wait("error")
            if error.code == "RATE_LIMITED":
                told[s.last_correlation] = error
        for word in bodies:
            assert (told[word].chat_id, told[word].peer_app_id) == (
                "c", peer), word
            assert told[word].retry_after_nanos > 0


def test_finds_without_an_answer(frail, sessions):
    """64 of a session may wait; and when this node cannot ask the mesh, that
    is said of all of them, and of a new chat."""
    s = sessions(frail[0].app)
    s.connect()
    mesh_pid = frail[0].pids()["mesh"]
    os.kill(mesh_pid, signal.SIGSTOP)
    try:
        for i in range(65):
            s.send(pb.FindApp(target_app_id=Identity().id),
                   correlation=f"f{i}")
        error = s.error("RATE_LIMITED")
        assert s.last_correlation == "f64" and error.retry_after_nanos > 0
        s.start("c", Identity(), correlation="start")
        error = s.error("ROUTE_UNAVAILABLE")
        assert (error.chat_id, s.last_correlation) == ("c", "start")
        assert s.none("find_app_result")
    finally:
        os.kill(mesh_pid, signal.SIGKILL)
    told = set()
    for _ in range(64):
        assert s.error("ROUTE_UNAVAILABLE").retry_after_nanos > 0
        told.add(s.last_correlation)
    assert told == {f"f{i}" for i in range(64)}


# --- order ------------------------------------------------------------------

def test_all_at_once(node, sessions):
    """What follows Connect need wait for no answer."""
    s = sessions(node.app)
    s.check_challenge()
    s.send(s.connect_frame())
    s.send(pb.FindApp(target_app_id=s.identity.id))
    s.delete("none", correlation="d")
    s.wait("connect_ack")
    assert s.wait("find_app_result").status == "local"
    s.error("CHAT_NOT_FOUND")
    assert s.last_correlation == "d"


def test_a_start_takes_the_place_of_the_one_before(apps):
    a, b, name = apps
    for word in ("first", "second"):
        a.start(name, b.identity, correlation=word)
    a.ping()
    b.wait("start_chat")
    b.start(name, a.identity)
    a.wait_ready(name)
    assert a.last_correlation == "second"
    assert a.none("start_chat_ack") and a.none("error")
    flows(a, b, name)


def test_deleted_before_the_peer_took_it(apps):
    """Both hear of it, and nothing is left to take up."""
    a, b, name = apps
    a.start(name, b.identity)
    b.wait("start_chat")
    a.delete(name, correlation="d")
    assert a.deleted(name) == "deleted" and a.last_correlation == "d"
    assert b.deleted(name) == "deleted_by_peer"
    b.message(name, 1, b"x")
    b.error("CHAT_NOT_FOUND")
    a.start(name, b.identity)
    b.wait("start_chat")
    b.start(name, a.identity)
    a.wait_ready(name)
    b.wait_ready(name)
    flows(a, b, name)


def test_while_a_chat_is_deleted(chat, homes):
    """For the app that asked it is gone at once; its name is free when it is
    gone for keyd."""
    a, b, name = chat
    with standing_still({home.pids()["keyd"] for home in homes}):
        a.delete(name, correlation="d")
        a.message(name, 1, b"x")
        assert a.error("CHAT_NOT_FOUND").chat_id == name
        a.delete(name)
        assert a.error("CHAT_NOT_FOUND").chat_id == name
        a.start(name, b.identity)
        error = a.error("CHAT_NOT_READY")
        assert error.retry_after_nanos > 0
        assert (error.chat_id, error.peer_app_id) == (name, b.identity.id)
        assert a.none("delete_chat_ack")
    assert a.deleted(name) == "deleted" and a.last_correlation == "d"
    assert b.deleted(name) == "deleted_by_peer"


def test_deleted_by_both_at_once(chat, homes):
    """Each is answered, once."""
    a, b, name = chat
    with standing_still({home.pids()["keyd"] for home in homes}):
        for s in (a, b):
            s.delete(name, correlation="d")
            s.ping()
    for s in (a, b):
        assert s.deleted(name) in ("deleted", "deleted_by_peer")
        assert s.last_correlation == "d"
    again = next(NAMES)
    a.start(again, b.identity)
    b.start(again, a.identity)
    for s in (a, b):
        s.wait_ready(again)
        assert s.none("delete_chat_ack") and s.none("error")


def test_an_app_speaks_on_without_resuming(places, sessions):
    """Whose stream broke may just go on, with the next sequence: to speak in
    a chat is to take it up."""
    name = next(NAMES)
    a, b, _, _ = pair(*places, name)
    flows(a, b, name, 1)
    a.close()
    b.wait("chat_status", lambda s: s.status == "peer_away")
    again = sessions(places[0], a.identity)
    again.connect()
    again.message(name, 1, b"there")
    again.acked(name, 1)
    flows(again, b, name, 2)
    assert b.none("chat_message")
    b.close()


def test_acks_of_what_never_was_are_let_pass(chat):
    a, b, name = chat
    for sequence in (0, 7, 2**64 - 1):
        for chat_id in (name, "nowhere", ""):
            b.send(pb.ChatMessageAck(chat_id=chat_id, sequence=sequence))
    flows(a, b, name)
    assert b.none("error") and a.none("error")


def test_the_end_names_which_chat_it_was(chat):
    """As StartChatAck did; another chat of the name is another one."""
    a, b, name = chat
    named = []
    for _ in range(2):
        a.start(name, b.identity)
        b.start(name, a.identity)
        acks = [s.wait_ready(name).instance for s in (a, b)]
        a.delete(name)
        ends = [s.wait("delete_chat_ack").instance for s in (a, b)]
        assert len(acks[0]) == 16 and acks + ends == 4 * acks[:1]
        named.append(acks[0])
    assert named[0] != named[1]
    never = next(NAMES)
    a.start(never, b.identity)
    b.wait("start_chat", lambda o: o.chat_id == never)
    b.delete(never)
    assert [s.wait("delete_chat_ack").instance for s in (a, b)] == [b"", b""]


# --- streams that break off -------------------------------------------------

def test_two_streams_of_one_app_on_one_connection(places, sessions):
    """The second has the place of the first, and its chats; the peer hears
    nothing of it."""
    name = next(NAMES)
    a, b, _, _ = pair(*places, name)
    flows(a, b, name, 1)
    second = Session(a.address, a.identity, beside=a)
    other = Session(a.address, beside=a)
    second.connect()
    assert a.wait("go_away").reason == "replaced"
    assert a.wait_closed() == CODE.ABORTED
    second.start(name, b.identity, resume=True)
    assert second.wait_ready(name).next_send_sequence == 2
    flows(second, b, name, 2)
    flows(b, second, name, 1)
    assert b.none("chat_status")
    other.connect()
    other.ping()
    second.close()
    b.wait("chat_status", lambda s: s.status == "peer_away")
    other.ping()
    other.close()
    a.close()
    b.close()


def test_64_streams_of_a_connection(node, sessions):
    """One more waits until another ends."""
    first = sessions(node.app)
    others = [Session(node.app, beside=first) for _ in range(63)]
    for s in (first, *others):
        s.connect()
    late = Session(node.app, beside=first)
    for s in (first, *others):
        s.ping()
    assert not late.frames and late.status is None
    others.pop().close()
    late.connect()
    for s in (first, late, *others):
        s.ping()
    for s in (late, *others):
        s.close()


def test_half_closed_before_connect(node, sessions):
    s = sessions(node.app)
    s.check_challenge()
    s.half_close()
    assert s.wait_closed() == CODE.INVALID_ARGUMENT
    with Session(node.app) as silent:
        silent.half_close()
        assert silent.wait_closed() == CODE.INVALID_ARGUMENT


def test_half_closed_after_many_words(places, sessions):
    """Everything that was asked before is answered, and then comes OK."""
    name, ended = next(NAMES), next(NAMES)
    a, b, _, _ = pair(*places, name)
    b.start(ended, a.identity)
    a.ready(ended, b.identity)
    for i in range(1, 51):
        a.message(name, i, b"x")
    a.send(pb.FindApp(target_app_id=Identity().id), correlation="f")
    a.delete(ended)
    a.half_close()
    assert a.wait_closed() == CODE.OK
    kinds = [f.WhichOneof("body") for f in a.frames]
    assert kinds.count("chat_message_ack") == 50
    assert kinds.count("find_app_result") == 1
    assert kinds.count("delete_chat_ack") == 1
    for i in range(1, 51):
        assert b.received(name) == (i, b"x")
    a.close()
    b.close()


BREAKS = {
    "at once": lambda s, peer: None,
    "challenged": lambda s, peer: s.check_challenge(),
    "connecting": lambda s, peer: (s.check_challenge(),
                                   s.send(s.connect_frame())),
    "connected": lambda s, peer: s.connect(),
    "finding": lambda s, peer: (s.connect(), s.send(
        pb.FindApp(target_app_id=Identity().id))),
    "starting": lambda s, peer: (s.connect(), s.start("broken", peer)),
    "offered": lambda s, peer: (s.connect(), s.start("broken", peer),
                                peer_hears(peer)),
    "speaking": lambda s, peer: (
        s.connect(), s.start("broken", peer),
        [s.message("broken", i, bytes(4096)) for i in range(1, 50)]),
    "deleting": lambda s, peer: (s.connect(), s.start("broken", peer),
                                 s.delete("broken")),
    "rekeying": lambda s, peer: (s.connect(), s.start(
        "broken", peer, rekey=True, version=1)),
}


def peer_hears(peer):
    peer.session.wait("start_chat")


@pytest.mark.parametrize("how", ["cancel", "half_close", "connection"])
def test_broken_off_anywhere(places, node, mesh, how):
    """A chat of others flows on, and no session stays."""
    name = next(NAMES)
    a, b, _, _ = pair(*places, name)
    peer = b.identity
    peer.session = b
    for i, (word, until_there) in enumerate(BREAKS.items(), 1):
        s = Session(places[0])
        until_there(s, peer)
        if how == "cancel":
            s.call.cancel()
        elif how == "half_close":
            s.half_close()
        else:
            s.channel.close()
        flows(a, b, name, i)
        s.close()
        for home in (node, mesh[0]):
            until(f"no session stays: {word}", lambda: all(
                row["app_id"] != s.identity.id
                for row in home.show("sessions")))
    flows(b, a, name)
    a.close()
    b.close()


def test_deadline_of_a_call(node):
    """The node keeps it, whatever the client does."""
    with Attacker(node, "app") as one:
        one.send(frame(HEADERS_FRAME, 4, 1, request(
            "/grpc.health.v1.Health/Watch",
            [("grpc-timeout", "200m")])) + frame(DATA, 0, 1, message(b"")))
        one.answer()
        assert one.resets(1) == [CANCEL]


def test_deadline_of_a_stream(node):
    with Session(node.app, timeout=3) as s:
        try:
            s.connect()
        except Closed as closed:  # on a busy machine
            assert closed.code == CODE.DEADLINE_EXCEEDED
        assert s.wait_closed() == CODE.DEADLINE_EXCEEDED
        until("its session is over", lambda: all(
            row["app_id"] != s.identity.id for row in node.show("sessions")))


def test_an_attestation_that_runs_out_ends_the_session(node, sessions):
    """Not before its time is over by any clock that may be: the app's may be
    60 seconds behind."""
    for seconds in (3, 10, 30):  # left, when a busy machine is so late
        s = sessions(node.app)
        issued = time.time_ns() - 3600 * 10**9
        life = 3600 - 60 + seconds
        try:
            s.connect(issued=issued, life=life)
            break
        except Closed as closed:
            assert closed.code == CODE.UNAUTHENTICATED
    assert s.wait("go_away").reason == "expired"
    assert time.time_ns() > issued + (life + 60) * 10**9
    assert s.wait_closed() == CODE.UNAUTHENTICATED
    assert s.details == "the attestation has expired"


# --- the node itself --------------------------------------------------------

def test_certificate_of_a_listener(sessions):
    """Self-signed, P-256, for the names and addresses of the listen lines."""
    port, = free_ports(1)
    with Node("named", extra=f"listen app on localhost port {port}\n") as one:
        s = sessions(f"localhost:{port}")
        s.connect()
        pem = s.certificate.encode()
    certificate = x509.load_pem_x509_certificate(pem)
    key = certificate.public_key()
    assert isinstance(key.curve, ec.SECP256R1)
    key.verify(certificate.signature, certificate.tbs_certificate_bytes,
               ec.ECDSA(certificate.signature_hash_algorithm))
    names = certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert "127.0.0.1" in map(str, names.get_values_for_type(x509.IPAddress))


def test_new_tls_keys_are_for_new_connections(sessions):
    """A Challenge is signed over the key in use, which older connections were
    not shown: new streams come on others, and those that are there go on. A
    reload is nothing of that kind."""
    with Node("renewed") as one, Attacker(one, "app") as old:
        s = sessions(one.app)
        s.connect()
        one.ctl("reload")
        old.send(frame(PING, 0, 0, b"reloaded"))
        assert old.read(lambda f: f[3] == b"reloaded")
        assert not any(f[0] == GOAWAY for f in old.frames)
        one.ctl("rekey", "tls")
        assert old.goaway() == 0
        until("another one is shown",
              lambda: server_certificate(one.app) != s.certificate)
        sessions(one.app).connect()
        s.ping()


def test_ratchets_as_the_contract_has_them():
    """The keys of /crypto/ratchets, and ids of 12 characters."""
    quiet = DEFAULTS.replace("admin ids full\n", "")
    with Node("quiet", defaults=quiet) as one:
        a, b, _, _ = pair(one.app, one.app, "shown")
        flows(a, b, "shown")
        rows = until("rows", lambda: json.loads(
            one.http("/crypto/ratchets")[1]))
        for row in rows:
            assert set("""chat_id key_version send_count recv_count
                last_ratchet_at local_app_id remote_app_id derived resumed
                expired remote_node_id previous_epoch_open rekeys
                next_rekey_by""".split()) <= set(row)
        assert {(row["local_app_id"], row["remote_app_id"])
                for row in rows} == {
            (x.identity.id[:12], y.identity.id[:12])
            for x, y in ((a, b), (b, a))}
        assert {row["remote_node_id"] for row in rows} == {"quiet"}
        assert {(row["chat_id"], row["key_version"]) for row in rows} == {
            ("shown", 1)}
        a.close()
        b.close()


def test_a_draining_node_takes_nobody(sessions):
    """Who is there may finish; a new stream on its connection is refused, and
    health says so."""
    health = protos.health
    with Node("drained", extra="mesh drain grace 4m\n") as one:
        a, b, _, _ = pair(one.app, one.app, "slow")
        watch = a.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health.HealthCheckRequest.SerializeToString,
            response_deserializer=health.HealthCheckResponse.FromString)
        states = watch(health.HealthCheckRequest(
            service="approuter.v1.AppRouter"))
        assert next(states).status == health.HealthCheckResponse.SERVING
        b.paused.clear()  # what is under way keeps the node for a while
        for i in range(1, 257):
            a.message("slow", i, bytes(4096))
        a.ping()
        one.process.terminate()
        assert a.wait("go_away").reason == "shutdown"
        assert next(states).status == health.HealthCheckResponse.NOT_SERVING
        late = Session(a.address, beside=a)
        assert late.wait_closed() == CODE.UNAVAILABLE
        b.paused.set()
        for i in range(1, 257):
            assert b.received("slow")[0] == i
        states.cancel()
        late.close()
        for s in (b, a):
            assert s.wait_closed() == CODE.UNAVAILABLE
            s.close()
        assert one.process.wait(WAIT) == 0
