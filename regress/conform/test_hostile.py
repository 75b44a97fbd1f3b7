"""Connections that mean no good, on both listeners: an end of that
connection, a counter, and nothing else disturbed."""

import os
import re
import socket
import ssl
import tempfile
from datetime import datetime, timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hermes_node import DEFAULTS, Node, until, wait_alive
from hermes_wire import WAIT, Session, mesh_pb
from mesh_member import Member

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


def address(node, listener):
    host, port = getattr(node, listener).rsplit(":", 1)
    return host, int(port)


def counters(node, listener):
    """Connections of this listener that were cut, by cause."""
    return {cause: node.metric(
        f'hermes_connection_errors_total{{listener="{listener}",'
        f'cause="{cause}"}}', "router" if listener == "app" else "mesh")
        for cause in ("handshake", "protocol", "abuse", "refused")}


@pytest.fixture(params=["app", "mesh"])
def door(request, mesh):
    """(node, listener, check): check(cause) sees that one more connection
    was counted, and that a bystander was not disturbed."""
    node, listener = mesh[0], request.param
    with Session(node.app) as bystander:
        bystander.connect()
        before = counters(node, listener)

        def check(*causes):
            until(f"{listener} counted as {causes}", lambda: any(
                counters(node, listener)[c] > before[c] for c in causes))
            bystander.ping()
            assert node.healthy()
        yield node, listener, check
        bystander.ping()


def raw(node, listener):
    return socket.create_connection(address(node, listener), timeout=WAIT)


def closed(connection):
    """Read until the node closes; what it said."""
    said = b""
    try:
        while True:
            data = connection.recv(65536)
            if not data:
                return said
            said += data
    except (ConnectionError, ssl.SSLError):
        return said


def self_signed(extension=None):
    """(certificate, key) as PEM, P-256."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
               .public_key(key.public_key()).serial_number(7)
               .not_valid_before(now - timedelta(hours=1))
               .not_valid_after(now + timedelta(days=1)))
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    return (builder.sign(key, hashes.SHA256()).public_bytes(
        serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM,
                          serialization.PrivateFormat.PKCS8,
                          serialization.NoEncryption()))


def tls(node, listener, alpn="h2", pair=None, version=None):
    """A TLS connection; on the mesh listener as a well-made stranger."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols([alpn])
    if pair is None and listener == "mesh":
        pair = Member("stranger").x509()
    if pair:
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(pair[0] + pair[1])
            pem.flush()
            context.load_cert_chain(pem.name)
    return context.wrap_socket(raw(node, listener))


@pytest.mark.parametrize("said", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PREFACE + SETTINGS,
    os.urandom(4096), b"\x16\x03\x01\xff\xff" + bytes(100), b"\x80" * 64],
    ids=["http", "h2c", "random", "record", "sslv2"])
def test_L20_plaintext_and_garbage(door, said):
    node, listener, check = door
    with raw(node, listener) as connection:
        connection.sendall(said)
        answer = closed(connection)
    assert b"HTTP" not in answer and not answer.startswith(SETTINGS[:4])
    check("handshake")


def test_half_a_handshake(door):
    node, listener, check = door
    hello = client_hello()
    with raw(node, listener) as connection:
        connection.sendall(hello[:len(hello) // 2])
    check("handshake")


def client_hello():
    """The first flight of a TLS client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def test_silent_connection_is_cut(door):
    node, listener, check = door
    with raw(node, listener) as connection:
        connection.settimeout(WAIT)
        assert closed(connection) == b""
    check("handshake")


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
def test_without_h2(door, alpn):
    node, listener, check = door
    try:
        with tls(node, listener, alpn) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert b"HTTP/1" not in closed(connection)
    except (ssl.SSLError, ConnectionError):
        pass
    check("handshake", "protocol")


def test_mesh_wants_tls_1_3(mesh):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with tls(mesh[0], "mesh",
                 version=ssl.TLSVersion.TLSv1_2) as connection:
            connection.sendall(PREFACE + SETTINGS)
            if not closed(connection):
                raise ConnectionError
    with tls(mesh[0], "app",
             version=ssl.TLSVersion.TLSv1_2) as connection:
        connection.sendall(PREFACE + SETTINGS)
        assert connection.recv(9)[3] == 4


@pytest.mark.parametrize("said", [
    b"GET / HTTP/1.1\r\n\r\n" * 3, os.urandom(4096),
    PREFACE + b"\0\0\0\0\0\0\0\0\1",
    PREFACE + SETTINGS + b"\xff\xff\xff\0\0\0\0\0\1" + bytes(1000),
    PREFACE + SETTINGS + b"\0\0\5\1\4\0\0\0\1" + b"\xff" * 5],
    ids=["http1", "random", "no-settings", "frame-size", "hpack"])
def test_broken_http2(door, said):
    node, listener, check = door
    with tls(node, listener) as connection:
        try:
            connection.sendall(said)
        except (ssl.SSLError, ConnectionError):
            pass
        closed(connection)
    check("protocol", "handshake", "abuse")


def test_oversized_grpc_message(mesh):
    """A length prefix of 4 GiB ends the stream, not the connection."""
    node = mesh[0]
    with Session(node.app) as s:
        s.connect()  # while there is time for it
        call = s.channel.stream_stream("/approuter.v1.AppRouter/Open",
                                       request_serializer=lambda b: b)
        stream = call(iter([bytes(20 << 20)]))
        with pytest.raises(grpc.RpcError) as error:
            for _ in stream:
                pass
        assert error.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED,
                                      grpc.StatusCode.INVALID_ARGUMENT,
                                      grpc.StatusCode.CANCELLED)
        s.ping()


# --- who may speak to the mesh listener -------------------------------------

def refused_as(node, pair, check=None):
    """A RouteChat with that certificate is not served."""
    host, port = address(node, "mesh")
    try:
        with tls(node, "mesh", pair=pair) as connection:
            pem = ssl.DER_cert_to_PEM_cert(
                connection.getpeercert(binary_form=True)).encode()
    except (ssl.SSLError, ConnectionError):
        return
    name = x509.load_pem_x509_certificate(pem).subject \
        .get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    channel = grpc.secure_channel(
        f"{host}:{port}", grpc.ssl_channel_credentials(
            pem, pair[1], pair[0]),
        options=(("grpc.ssl_target_name_override", name),
                 ("grpc.enable_http_proxy", 0)))
    with pytest.raises(grpc.RpcError) as error:
        for _ in Member.route(mesh_pb, channel, iter(
                [mesh_pb.RouteFrame(relay_ack=mesh_pb.RelayAck())])):
            pass
    assert error.value.code() in (
        grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNAUTHENTICATED)
    channel.close()


def test_no_client_certificate(mesh):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    before = counters(mesh[0], "mesh")
    try:
        with context.wrap_socket(raw(mesh[0], "mesh")) as connection:
            connection.sendall(PREFACE + SETTINGS)
            assert closed(connection) == b""
    except (ssl.SSLError, ConnectionError):
        pass
    until("counted", lambda: counters(mesh[0], "mesh") != before)
    assert mesh[0].healthy()


def test_certificate_without_a_node(mesh):
    refused_as(mesh[0], self_signed())
    assert mesh[0].healthy()


@pytest.mark.parametrize("lie", ["signature", "key", "garbage", "cut"])
def test_certificate_with_a_false_binding(mesh, lie):
    member = Member("stranger")
    if lie == "signature":
        member.identity = Member("other").identity
    if lie == "key":
        member.spki = bytes(32)
    good = member.binding()
    if lie == "garbage":
        member.binding = lambda: os.urandom(len(good))
    if lie == "cut":
        member.binding = lambda: good[:-1]
    refused_as(mesh[0], member.x509())
    assert mesh[0].healthy()


def test_L18_gossip_and_routes_need_membership(mesh):
    """Well made, but nobody's member: nothing but Join is served."""
    refused_as(mesh[0], Member("stranger").x509())
    stranger = Member("stranger2")
    host, port = address(mesh[0], "mesh")
    channel = stranger.channel(host, port)
    with pytest.raises(grpc.RpcError) as error:
        for _ in Member.gossip(mesh_pb, channel, iter(
                [mesh_pb.GossipMessage(membership=mesh_pb.MembershipEvent(
                    type=mesh_pb.MembershipEvent.FAIL,
                    node=mesh_pb.NodeDescriptor(node_id="beta")))])):
            pass
    assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED
    channel.close()
    # One that is slow may be under suspicion for it.
    assert {row["state"] for row in mesh[0].show("nodes")} <= {
        "alive", "suspect"}
    wait_alive(mesh[0], 2)


# --- admin HTTP -------------------------------------------------------------

def test_L21_admin_shows_little_by_default():
    quiet = re.sub(r"admin .*\n", "", DEFAULTS)
    with Node("quiet", defaults=quiet) as node:
        assert node.http("/mesh/apps")[0] == 404
        with Session(node.app) as s:
            s.connect()
            s.start("c", s.identity.id[:-1] + "0")
            pages = [node.http(path)[1] for path in
                     ("/metrics", "/mesh/members", "/crypto/ratchets",
                      "/readyz", "/healthz", "/mesh/apps", "/")]
        assert all(s.identity.id not in page for page in pages)
        assert node.admin.startswith("127.0.0.1:")


@pytest.mark.parametrize("request_line", [
    b"POST /metrics HTTP/1.1", b"DELETE / HTTP/1.1", b"GET /../x HTTP/1.1",
    b"\x16\x03\x01", b"GET " + b"/" * 100000 + b" HTTP/1.1"],
    ids=["post", "delete", "path", "tls", "long"])
def test_admin_is_read_only_and_robust(node, request_line):
    host, port = node.admin.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=WAIT) as s:
        try:
            s.sendall(request_line + b"\r\nHost: x\r\n\r\n")
            answer = s.recv(4096)
        except ConnectionError:
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 200")
    assert node.http("/healthz")[0] == 200


def test_no_free_text_becomes_a_label(node):
    with Session(node.app) as s:
        s.connect({"name": "label-injection\n\"}"})
        s.start("label-injection", "00" * 32)
        s.wait("error")
        text = node.http("/metrics")[1]
    assert "label-injection" not in text
    assert s.identity.id[:12] not in text
    for line in text.splitlines():
        assert re.fullmatch(
            r"#.*|[a-z0-9_]+(\{[a-z_]+=\"[^\"\\]*\"(,[a-z_]+=\"[^\"\\]*\")*\})?"
            r" [0-9.e+-]+|", line), line


