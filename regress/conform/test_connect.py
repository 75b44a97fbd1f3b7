"""Challenge and Connect: who gets in, and with which status who does not."""

import os
import re
import socket
import ssl
import time

import grpc
import nacl.signing
import pytest

from hermes_node import Node, until
from hermes_wire import WAIT, Identity, Session, connect_v1_bytes, pb, protos

CODE = grpc.StatusCode


def refused(session, status, **lies):
    session.check_challenge()
    session.send(session.connect_frame(**lies))
    assert session.wait_closed() == status, session.details


def test_challenge_proves_the_node(node, sessions):
    s = sessions(node.app)
    c = s.check_challenge()
    summary = node.ctl("show")["summary"]
    assert c.node_id == summary["node_id"] == "single"
    assert c.node_public_key.hex() == summary["node_key"]
    assert len(c.nonce) == 32 and c.mesh_id == ""
    other = sessions(node.app).check_challenge()
    assert other.nonce != c.nonce


def test_mesh_id_is_in_the_challenge(mesh, sessions):
    ids = {sessions(n.app).check_challenge().mesh_id for n in mesh.nodes}
    assert len(ids) == 1 and len(ids.pop()) == 64


def test_connect_and_heartbeat(node, sessions):
    s = sessions(node.app)
    ack = s.connect({"name": "test"})
    assert len(ack.assigned_session_id) == 32
    assert ack.node_id == "single"
    assert ack.node_public_key == s.challenge.node_public_key
    assert ack.max_message_size == 1 << 20
    assert ack.chat_window == 256
    assert s.ping(42).timestamp_nanos == 42
    assert s.ping(-1).timestamp_nanos == -1


def test_other_nodes_are_told(mesh, sessions):
    ack = sessions(mesh[0].app).connect()
    assert [(n.node_id, n.endpoint) for n in ack.nodes] == [
        ("beta", mesh[1].app)]


def test_correlation_id_is_echoed(node, sessions):
    s = sessions(node.app)
    s.check_challenge()
    s.send(s.connect_frame(), correlation="mine")
    s.wait("connect_ack")
    assert s.last_correlation == "mine"
    s.send(pb.Heartbeat(timestamp_nanos=1), correlation="x" * 100)
    s.wait("heartbeat")
    assert s.last_correlation == "x" * 100


@pytest.mark.parametrize("lie", [
    {"signature": bytes(64)}, {"signature": b"short"}, {"signature": b""},
    {"app_public_key": bytes(32)}, {"app_public_key": b"k" * 31},
    {"app_public_key": b""}, {"nonce": bytes(32)}, {"nonce": b"n"},
    {"nonce": b""}, {"node_key": bytes(32)},
    {"life": 24 * 3600 + 1}, {"life": 0}, {"life": -5}],
    ids=lambda lie: "-".join(f"{k}-{str(v)[:12]}" for k, v in lie.items()))
def test_unauthenticated(node, sessions, lie):
    before = node.metric("hermes_auth_failures_total", "router")
    session = sessions(node.app)
    refused(session, CODE.UNAUTHENTICATED, **lie)
    (field, value), = lie.items()
    said = ("nonce is not that of the Challenge" if field == "nonce" else
            "issued_at or expires_at: " if field == "life" else
            "the signature does not" if len(value) in (32, 64) else
            "app_public_key is not 32 bytes, or signature not 64")
    assert session.details.startswith(said), session.details
    assert node.metric("hermes_auth_failures_total", "router") == before + 1


@pytest.mark.parametrize("seconds,good", [
    (-59, True), (59, True), (-7200, False), (90, False)])
def test_clock_skew(node, sessions, seconds, good):
    s = sessions(node.app)
    issued = time.time_ns() + seconds * 10**9
    if good:
        s.connect(issued=issued)
    else:
        refused(s, CODE.UNAUTHENTICATED, issued=issued)


def test_expired_within_skew_is_no_way_in_for_long(node, sessions):
    refused(sessions(node.app), CODE.UNAUTHENTICATED,
            issued=time.time_ns() - 3600 * 10**9, life=3600 - 61)


def test_metadata_is_signed(node, sessions):
    s = sessions(node.app)
    s.check_challenge()
    frame = s.connect_frame({"name": "a"})
    frame.metadata["name"] = "b"
    s.send(frame)
    assert s.wait_closed() == CODE.UNAUTHENTICATED


def test_other_node_s_id(node, sessions):
    refused(sessions(node.app), CODE.PERMISSION_DENIED, node_id="other")
    refused(sessions(node.app), CODE.PERMISSION_DENIED, node_id="")


@pytest.mark.parametrize("first", [
    pb.Heartbeat(), pb.FindApp(), pb.StartChat(chat_id="x"),
    pb.ChatMessage(), pb.DeleteChat(), pb.ConnectAck(), pb.Challenge()],
    ids=lambda f: type(f).__name__)
def test_first_frame_is_not_connect(node, sessions, first):
    s = sessions(node.app)
    s.check_challenge()
    s.send(first)
    assert s.wait_closed() == CODE.INVALID_ARGUMENT


@pytest.mark.parametrize("raw", [
    b"", b"\xff\xff\xff", b"\x12\xff\x01", os.urandom(64), b"\x12\x02\x0a\x05",
    pb.AppFrame(connect=pb.Connect()).SerializeToString() + b"\x12"],
    ids=["empty", "tag", "length", "random", "nested", "cut"])
def test_first_frame_is_garbage(node, sessions, raw):
    s = sessions(node.app)
    s.check_challenge()
    s.send_raw(raw)
    assert s.wait_closed() in (CODE.INVALID_ARGUMENT, CODE.UNAUTHENTICATED,
                               CODE.PERMISSION_DENIED)
    with Session(node.app) as other:
        other.connect()
        other.ping()


def test_second_connect_is_invalid(node, sessions):
    s = sessions(node.app)
    s.connect()
    s.send(s.connect_frame())
    assert s.error("INVALID_FRAME").message.startswith("a second Connect")
    s.ping()  # the session lives on


def limited(node, limit):
    """Streams that this limit refused or ended."""
    return node.metric(f'hermes_session_limits_total{{limit="{limit}"}}',
                       "router")


def test_metadata_too_large(node, sessions):
    before = limited(node, "metadata_size")
    refused(sessions(node.app), CODE.RESOURCE_EXHAUSTED,
            metadata={"k": "v" * 5000})
    assert limited(node, "metadata_size") == before + 1


def test_second_stream_replaces_the_first(node, sessions):
    identity = Identity()
    first = sessions(node.app, identity)
    first.connect()
    second = sessions(node.app, identity)
    second.connect()
    assert first.wait("go_away").reason == "replaced"
    assert first.wait_closed() == CODE.ABORTED
    second.ping()
    assert sum(row["app_id"] == identity.id
               for row in node.show("sessions")) == 1


def test_half_close_ends_the_session(node, sessions):
    s = sessions(node.app)
    s.connect()
    s.half_close()
    assert s.wait_closed() == CODE.OK
    until("session gone", lambda: all(
        row["app_id"] != s.identity.id for row in node.show("sessions")))


def test_health(node):
    with Session(node.app) as s:
        health = protos.health
        check = s.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health.HealthCheckRequest.SerializeToString,
            response_deserializer=health.HealthCheckResponse.FromString)
        serving = health.HealthCheckResponse.SERVING
        for service in ("", "approuter.v1.AppRouter"):
            request = health.HealthCheckRequest(service=service)
            assert check(request, timeout=WAIT).status == serving
        with pytest.raises(grpc.RpcError) as error:
            check(health.HealthCheckRequest(service="no.such"), timeout=WAIT)
        assert error.value.code() == CODE.NOT_FOUND
        watch = s.channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health.HealthCheckRequest.SerializeToString,
            response_deserializer=health.HealthCheckResponse.FromString)
        call = watch(health.HealthCheckRequest(), timeout=WAIT)
        assert next(call).status == serving
        call.cancel()
        unknown = watch(health.HealthCheckRequest(service="no"), timeout=WAIT)
        assert next(unknown).status == (
            health.HealthCheckResponse.SERVICE_UNKNOWN)
        unknown.cancel()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection(node, version):
    from google.protobuf import descriptor_pb2
    module = getattr(protos, f"reflection_{version}")
    with Session(node.app) as s:
        call = s.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/"
            "ServerReflectionInfo",
            request_serializer=module.ServerReflectionRequest
            .SerializeToString,
            response_deserializer=module.ServerReflectionResponse.FromString)

        def ask(**fields):
            request = module.ServerReflectionRequest(host="h", **fields)
            return next(call(iter([request]), timeout=WAIT))
        services = {x.name for x in ask(
            list_services="").list_services_response.service}
        assert {"approuter.v1.AppRouter", "grpc.health.v1.Health"
                } <= services
        assert "nodemesh.v1.NodeMesh" not in services
        for fields in ({"file_containing_symbol": "approuter.v1.AppRouter"},
                       {"file_by_filename": "approuter.proto"}):
            files = ask(**fields).file_descriptor_response
            parsed = descriptor_pb2.FileDescriptorProto.FromString(
                files.file_descriptor_proto[0])
            assert parsed.package == "approuter.v1"
            assert [m.name for m in parsed.service[0].method] == ["Open"]
        error = ask(file_containing_symbol="no.such").error_response
        assert error.error_code == CODE.NOT_FOUND.value[0]


def test_unknown_method(node):
    with Session(node.app) as s:
        for path in ("/approuter.v1.AppRouter/Close", "/no.Such/Method",
                     "/nodemesh.v1.NodeMesh/Join"):
            with pytest.raises(grpc.RpcError) as error:
                s.channel.unary_unary(path)(b"", timeout=WAIT)
            assert error.value.code() == CODE.UNIMPLEMENTED


# --- v1 ---------------------------------------------------------------------

@pytest.fixture(scope="module")
def v1_node():
    with Node("compat", extra="app compat v1\n") as one:
        yield one


def v1_frame(identity, node_id, metadata=None):
    metadata = metadata or {}
    return pb.Connect(
        app_public_key=identity.public, node_id=node_id, metadata=metadata,
        signature=identity.sign(connect_v1_bytes(node_id, metadata)))


def test_v1_connect(v1_node, sessions):
    s = sessions(v1_node.app)
    s.send(v1_frame(s.identity, "compat", {"b": "2", "a": "1"}))
    s.wait("connect_ack")
    assert s.none("challenge")
    assert v1_node.metric("hermes_sessions_v1_total", "router") >= 1


def test_v2_works_beside_v1(v1_node, sessions):
    sessions(v1_node.app).connect()


def test_v1_apps_chat(v1_node, sessions):
    a, b = sessions(v1_node.app), sessions(v1_node.app)
    for s in (a, b):
        s.send(v1_frame(s.identity, "compat"))
        s.wait("connect_ack")
    for s, t in ((a, b), (b, a)):
        key = bytes(nacl.signing.SigningKey.generate()
                    .to_curve25519_private_key().public_key)
        s.start("v1", t.identity, key=key, version=1)
    a.wait_ready("v1")
    b.wait_ready("v1")
    a.message("v1", 1, b"old")
    assert b.received("v1") == (1, b"old")
    a.acked("v1", 1)


@pytest.mark.parametrize("lie", ["signature", "node", "metadata"])
def test_v1_lies(v1_node, sessions, lie):
    s = sessions(v1_node.app)
    frame = v1_frame(s.identity, "compat" if lie != "node" else "other")
    if lie == "signature":
        frame.signature = bytes(64)
    if lie == "metadata":
        frame.metadata["x"] = "y"
    s.send(frame)
    assert s.wait_closed() == (CODE.PERMISSION_DENIED if lie == "node"
                               else CODE.UNAUTHENTICATED)


def test_v1_is_off_by_default(node, sessions):
    s = sessions(node.app)
    s.check_challenge()
    s.send(v1_frame(s.identity, "single"))
    assert s.wait_closed() == CODE.UNAUTHENTICATED


# --- limits -----------------------------------------------------------------

def test_connect_in_time(sessions):
    with Node("hasty", extra="limits { connect timeout 3s }\n") as one:
        s = sessions(one.app)
        s.check_challenge()
        assert s.wait_closed() == CODE.DEADLINE_EXCEEDED
        assert limited(one, "connect_timeout") == 1


def test_too_many_sessions(sessions):
    with Node("tight", extra="limits { sessions 2 }\n") as one:
        a, b = sessions(one.app), sessions(one.app)
        a.connect()
        b.connect()
        refused(sessions(one.app), CODE.RESOURCE_EXHAUSTED)
        assert limited(one, "sessions") == 1
        # Replaces, adds nothing.
        sessions(one.app, a.identity).connect()
        assert limited(one, "sessions") == 1


def test_idle_session_ends(sessions):
    with Node("idle", extra="limits { session idle 1s }\n") as one:
        s = sessions(one.app)
        s.connect()
        assert s.wait("go_away").reason == "idle"
        assert s.wait_closed() == CODE.OK
        assert limited(one, "session_idle") == 1


def test_locked_node_takes_nobody_until_unlocked():
    """Without its keys a node cannot even prove itself: no TLS, no stream.
    Unlocked, it serves."""
    with Node("locked") as one:
        assert one.stop() == 0
        text = one.config.read_text()
        one.config.write_text(re.sub(r".*passphrase file.*\n", "", text))
        one.spawn()
        until("locked node answers", lambda: one.http("/readyz")[0] == 503)
        assert "keyd locked" in one.http("/readyz")[1]
        assert one.ctl("show")["summary"]["unlocked"] is False
        status = one.ctl("status", ok=False)
        assert not status["ready"] and "keyd locked" in status["reasons"]
        host, port = one.app.rsplit(":", 1)
        with pytest.raises(OSError):
            with socket.create_connection((host, int(port)), 2) as tcp:
                ssl._create_unverified_context().wrap_socket(tcp)
        wrong = one.ctl_run("unlock", stdin="wrong\n")
        assert wrong.returncode != 0
        assert one.http("/readyz")[0] == 503
        one.ctl("unlock", stdin=(
            one.config.parent / "passphrase").read_text())
        one.wait_ready()
        with Session(one.app) as s:
            s.connect()
