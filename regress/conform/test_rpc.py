"""common/rpc as foreign gRPC clients see it: grpcio, and raw TLS sockets.

The server is regress/conform/rpc_server_demo.c, built with RPC_SERVER_DEMO
pointing at it or by cc from the objects in $BUILD (default: build).
"""
import glob
import importlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

import grpc
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
WAIT = 90  # seconds, on a busy machine
PACKAGES = ("libtls libssl libcrypto libsodium libevent libnghttp2 "
            "libprotobuf-c libbsd-overlay").split()


def pkg_config(*arguments):
    return subprocess.check_output(
        ["pkg-config", *arguments, *PACKAGES], text=True).split()


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    if "RPC_SERVER_DEMO" in os.environ:
        return os.environ["RPC_SERVER_DEMO"]
    binary = str(tmp_path_factory.mktemp("demo") / "rpc_server_demo")
    subprocess.check_call(
        ["make", "-s", "-C", ROOT, "BUILD=" + BUILD,
         BUILD + "/libcommon.a", BUILD + "/proto/descriptors.h"])
    subprocess.check_call(
        ["cc", "-std=c11", "-g", "-D_GNU_SOURCE", "-I" + ROOT, "-I" + BUILD,
         *pkg_config("--cflags"), *os.environ.get("EXTRA_CFLAGS", "").split(),
         ROOT + "/regress/conform/rpc_server_demo.c",
         BUILD + "/libcommon.a", "-o", binary, *pkg_config("--libs")])
    return binary


@pytest.fixture(scope="session")
def identity(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity")
    certificate, key = str(folder / "c.pem"), str(folder / "k.pem")
    subprocess.check_call(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
         certificate, "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        stderr=subprocess.DEVNULL)
    return certificate, key


@pytest.fixture(scope="session")
def modules(tmp_path_factory):
    """The health and reflection messages, from proto/."""
    folder = str(tmp_path_factory.mktemp("pb"))
    subprocess.check_call(
        ["protoc", "--proto_path=" + ROOT + "/proto", "--python_out=" + folder,
         "health.proto", "reflection_v1.proto", "reflection_v1alpha.proto"])
    sys.path.insert(0, folder)
    return {name: importlib.import_module(name + "_pb2") for name in
            ("health", "reflection_v1", "reflection_v1alpha")}


class Server:
    def __init__(self, demo, identity, *arguments):
        self.identity = identity
        self.process = subprocess.Popen(
            [demo, *identity, *arguments], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])
        self.address = "localhost:%d" % self.port

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def counters(self):
        self.tell("counters")
        return {k: int(v) for k, v in (
            pair.split("=") for pair in
            self.process.stdout.readline().split())}

    def channel(self, *options):
        with open(self.identity[0], "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        return grpc.secure_channel(self.address, credentials, [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1), *options])

    def tls(self, alpn=("h2",), version=None):
        context = ssl.create_default_context(cafile=self.identity[0])
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if version:
            context.minimum_version = context.maximum_version = version
        return context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), timeout=WAIT),
            server_hostname="localhost")

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=WAIT) == 0


@pytest.fixture(params=["key", "signer"], scope="module")
def server(request, demo, identity):
    arguments = ["signer"] if request.param == "signer" else []
    server = Server(demo, identity, *arguments)
    yield server
    server.stop()


@pytest.fixture
def channel(server):
    with server.channel() as channel:
        # One that is closed while it connects leaves its connection open.
        grpc.channel_ready_future(channel).result(WAIT)
        yield channel


def wait_for(condition, what):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def quiet(server):
    """The counters once all connections are gone."""
    wait_for(lambda: server.counters()["connections_open"] == 0, "gone")
    return server.counters()


def raw(name):
    return "/test.Echo/" + name


# --- calls -----------------------------------------------------------------

def test_unary(channel):
    echo = channel.unary_unary(raw("Unary"))
    for size in (0, 1, 100, 16384, 100000, 4 * 1024 * 1024):
        message = bytes(size)
        assert echo(message, timeout=WAIT) == message


def test_unary_many_at_once(channel):
    echo = channel.unary_unary(raw("Unary"))
    calls = [echo.future(b"%d" % i, timeout=WAIT) for i in range(500)]
    assert [c.result() for c in calls] == [b"%d" % i for i in range(500)]


def test_stream(channel):
    echo = channel.stream_stream(raw("Stream"))
    sent = [b"%d" % i * (i % 50) for i in range(5000)]
    assert list(echo(iter(sent), timeout=WAIT)) == sent


def test_stream_large(channel):
    echo = channel.stream_stream(raw("Stream"))
    sent = [bytes([i]) * (1 << 20) for i in range(20)]
    assert list(echo(iter(sent), timeout=WAIT)) == sent


def test_server_stream(channel):
    many = channel.unary_stream(raw("Many"))
    for power in (0, 10, 16, 20):
        got = list(many(bytes([power]), timeout=WAIT))
        assert got == [bytes([i]) * (1 << power) for i in range(10)]


@pytest.mark.parametrize("status", list(grpc.StatusCode))
def test_status(channel, status):
    call = channel.unary_unary(raw("Status")).future(
        bytes([status.value[0]]) + "naïve 100%\n".encode(), timeout=WAIT)
    assert call.code() is status
    assert call.details() == "naïve 100%\n"


def test_unknown_method(channel):
    call = channel.unary_unary(raw("Nothing")).future(b"", timeout=WAIT)
    assert call.code() is grpc.StatusCode.UNIMPLEMENTED
    call = channel.unary_unary("/no.Such/Service").future(b"", timeout=WAIT)
    assert call.code() is grpc.StatusCode.UNIMPLEMENTED


def test_refused_in_opened(channel):
    call = channel.unary_unary(raw("Refuse")).future(b"", timeout=WAIT)
    assert call.code() is grpc.StatusCode.PERMISSION_DENIED
    assert call.details() == "not you"


def test_deadline(channel, server):
    call = channel.unary_unary(raw("Hang")).future(b"", timeout=0.2)
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    wait_for(lambda: server.counters()["streams_open"] == 0, "stream ends")


def test_cancel(channel, server):
    call = channel.stream_stream(raw("Stream"))(
        iter(lambda: time.sleep(0.01) or b"x", None))
    assert next(call) == b"x"
    call.cancel()
    wait_for(lambda: server.counters()["streams_open"] == 0, "stream ends")


def test_too_large(channel):
    call = channel.unary_unary(raw("Unary")).future(
        bytes(4 * 1024 * 1024 + 1), timeout=WAIT)
    assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_cardinality(channel):
    call = channel.stream_unary(raw("Unary")).future(iter([]), timeout=WAIT)
    assert call.code() is grpc.StatusCode.UNIMPLEMENTED
    call = channel.stream_unary(raw("Unary")).future(
        iter([b"a", b"b"]), timeout=WAIT)
    assert call.code() is grpc.StatusCode.UNIMPLEMENTED


def test_compression_refused(channel):
    call = channel.unary_unary(raw("Unary")).future(
        bytes(10000), timeout=WAIT, compression=grpc.Compression.Gzip)
    assert call.code() is grpc.StatusCode.UNIMPLEMENTED


def test_slow_reader_stalls_only_itself(channel):
    slow = channel.stream_stream(raw("Stream"))(
        iter([bytes(100000)] * 200), timeout=WAIT)
    echo = channel.unary_unary(raw("Unary"))
    for _ in range(50):
        assert echo(b"x", timeout=WAIT) == b"x"
    assert sum(len(m) for m in slow) == 200 * 100000


def test_drain(demo, identity):
    server = Server(demo, identity)
    with server.channel() as channel:
        gate = threading.Event()

        def messages():
            yield b"1"
            gate.wait(WAIT)
            yield b"2"

        call = channel.stream_stream(raw("Stream"))(messages(), timeout=WAIT)
        assert next(call) == b"1"
        server.tell("drain")
        late = channel.unary_unary(raw("Unary"))
        wait_for(lambda: late.future(b"", timeout=1).code() is
                 grpc.StatusCode.UNAVAILABLE, "no new calls")
        gate.set()
        assert list(call) == [b"2"]
        assert call.code() is grpc.StatusCode.OK
        wait_for(lambda: server.counters()["connections_open"] == 0, "closed")
    server.stop()


# --- health and reflection -------------------------------------------------

def test_health(server, channel, modules):
    pb = modules["health"]
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=pb.HealthCheckRequest.SerializeToString,
        response_deserializer=pb.HealthCheckResponse.FromString)
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=pb.HealthCheckRequest.SerializeToString,
        response_deserializer=pb.HealthCheckResponse.FromString)
    assert check(pb.HealthCheckRequest(), timeout=WAIT).status == 1
    with pytest.raises(grpc.RpcError) as error:
        check(pb.HealthCheckRequest(service="a.B"), timeout=WAIT)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    states = watch(pb.HealthCheckRequest(service="a.B"), timeout=WAIT)
    assert next(states).status == 3
    server.tell("health a.B 1")
    assert next(states).status == 1
    server.tell("health a.B 0")
    assert next(states).status == 2
    assert check(pb.HealthCheckRequest(service="a.B"), timeout=WAIT).status == 2
    states.cancel()
    with pytest.raises(grpc.RpcError) as error:
        check(pb.HealthCheckRequest(service="x" * 300), timeout=WAIT)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection(channel, modules, version):
    from google.protobuf import descriptor_pb2
    pb = modules["reflection_" + version]
    ask = channel.stream_stream(
        "/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version,
        request_serializer=pb.ServerReflectionRequest.SerializeToString,
        response_deserializer=pb.ServerReflectionResponse.FromString)
    requests = [
        pb.ServerReflectionRequest(host="h", list_services=""),
        pb.ServerReflectionRequest(file_by_filename="approuter.proto"),
        pb.ServerReflectionRequest(file_by_filename="nothing.proto"),
        pb.ServerReflectionRequest(
            file_containing_symbol="approuter.v1.AppRouter"),
        pb.ServerReflectionRequest(
            file_containing_symbol="approuter.v1.AppRouter.Open"),
        pb.ServerReflectionRequest(
            file_containing_symbol="grpc.health.v1.HealthCheckResponse"
                                   ".ServingStatus"),
        pb.ServerReflectionRequest(file_containing_symbol="approuter.v1.Nope"),
        pb.ServerReflectionRequest(file_containing_symbol="approuter.v1"),
        pb.ServerReflectionRequest(
            all_extension_numbers_of_type="approuter.v1.Connect"),
        pb.ServerReflectionRequest(),
    ]
    answers = list(ask(iter(requests), timeout=WAIT))
    assert len(answers) == len(requests)
    assert answers[0].original_request == requests[0]
    assert answers[0].valid_host == "h"
    services = {s.name for s in answers[0].list_services_response.service}
    assert services == {
        "test.Echo", "approuter.v1.AppRouter", "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection"}

    def file(answer):
        got = answer.file_descriptor_response.file_descriptor_proto
        assert len(got) == 1
        return descriptor_pb2.FileDescriptorProto.FromString(got[0])

    for i in (1, 3, 4):
        assert file(answers[i]).name == "approuter.proto"
        assert file(answers[i]).service[0].name == "AppRouter"
    assert file(answers[5]).name == "health.proto"
    for i in (2, 6, 7):
        assert answers[i].error_response.error_code == 5
    assert answers[8].all_extension_numbers_response.base_type_name == \
        "approuter.v1.Connect"
    assert answers[9].error_response.error_code == 3


# --- what is not gRPC ------------------------------------------------------

def frame(kind, flags, stream, payload=b""):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) +
            stream.to_bytes(4, "big") + payload)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)


def literal(name, value):
    """One HPACK field, never indexed, no Huffman."""
    return (b"\x10" + bytes([len(name)]) + name.encode() +
            bytes([len(value)]) + value.encode())


def request(path="/test.Echo/Unary", method="POST",
            content="application/grpc", te="trailers", more=()):
    fields = [(":method", method), (":scheme", "https"), (":path", path),
              (":authority", "localhost")]
    fields += [("content-type", content)] if content else []
    fields += [("te", te)] if te else []
    return b"".join(literal(*f) for f in fields + list(more))


def read_frames(sock, until):
    """Frames until one satisfies until; the end of the stream is None."""
    data, frames = b"", []
    while True:
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(
                data[:3], "big"):
            n = int.from_bytes(data[:3], "big")
            frames.append((data[3], data[4],
                           int.from_bytes(data[5:9], "big"), data[9:9 + n]))
            data = data[9 + n:]
            if until(frames[-1]):
                return frames
        try:
            got = sock.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError, BrokenPipeError):
            got = b""
        if not got:
            frames.append(None)
            return frames
        data += got


def is_end(stream):
    return lambda f: f[2] == stream and f[0] in (0, 1) and f[1] & 1


def ask_raw(server, block, flags=0x5):
    with server.tls() as sock:
        sock.sendall(PREFACE + frame(1, flags, 1, block))
        frames = read_frames(sock, is_end(1))
        assert frames[-1] is not None
        return b"".join(f[3] for f in frames if f[0] == 1)


# The first byte of a response block: the status from HPACK's static table,
# or its literal digits somewhere in the block.
def test_not_grpc(server):
    import hpack_status
    assert hpack_status.of(ask_raw(server, request(method="GET"))) == "405"
    assert hpack_status.of(ask_raw(
        server, request(content="text/html"))) == "415"
    assert hpack_status.of(ask_raw(
        server, request(content="application/grpcx"))) == "415"
    assert hpack_status.of(ask_raw(server, request(content=""))) == "415"
    assert hpack_status.of(ask_raw(server, request(te=""))) == "400"
    assert hpack_status.of(ask_raw(
        server, request(content="application/grpc+proto"))) == "200"
    assert hpack_status.of(ask_raw(
        server, request(more=[("grpc-timeout", "1x")]))) == "200"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2,
                                     ssl.TLSVersion.TLSv1_3])
def test_tls_versions(server, version):
    with server.tls(version=version) as sock:
        assert sock.selected_alpn_protocol() == "h2"
        sock.sendall(PREFACE)
        read_frames(sock, lambda f: f[0] == 4)


def test_plaintext_and_garbage(server):
    before = quiet(server)
    for first in (b"GET / HTTP/1.1\r\n\r\n", PREFACE, os.urandom(1000),
                  b"\x16\x03\x01\x40\x00" + os.urandom(20000)):
        with socket.create_connection(("127.0.0.1", server.port),
                                      timeout=WAIT) as sock:
            sock.sendall(first)
            try:
                while sock.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    after = quiet(server)
    assert after["handshake_failures"] == before["handshake_failures"] + 4


def test_alpn_required(server):
    before = quiet(server)["handshake_failures"]
    for alpn in ((), ("http/1.1",)):
        with pytest.raises((ssl.SSLError, ConnectionResetError, AssertionError)):
            with server.tls(alpn=alpn) as sock:
                sock.sendall(PREFACE)
                assert sock.recv(100) != b""
    assert quiet(server)["handshake_failures"] == before + 2


def test_garbage_in_tls(server):
    before = quiet(server)["protocol_errors"]
    with server.tls() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(100))
        assert read_frames(sock, lambda f: False)[-1] is None
    assert server.counters()["protocol_errors"] == before + 1


# --- abuse (L30) -----------------------------------------------------------

def drained(sock):
    """Read what there is; True when the server has cut us."""
    sock.setblocking(False)
    try:
        while sock.recv(65536):
            pass
        return True
    except ssl.SSLWantReadError:
        return False
    finally:
        sock.settimeout(WAIT)


def flood(server, data, rounds=200):
    """Send data again and again: the server counts it and cuts us."""
    before = quiet(server)["abuse"]
    with server.tls() as sock:
        sock.sendall(PREFACE)
        try:
            for i in range(rounds):
                sock.sendall(data(i) if callable(data) else data)
                if drained(sock):
                    break
            assert read_frames(sock, lambda f: False)[-1] is None
        except (ssl.SSLError, ConnectionError):
            pass
    assert server.counters()["abuse"] > before
    quiet(server)


def alive(server):
    with server.channel() as channel:
        assert channel.unary_unary(raw("Unary"))(b"x", timeout=WAIT) == b"x"


@pytest.mark.parametrize("data", [
    frame(6, 0, 0, bytes(8)) * 500,                 # PING
    frame(4, 0, 0, b"\0\4\0\1\0\0") * 500,          # SETTINGS
    frame(2, 0, 1, b"\0\0\0\0\1") * 500,            # PRIORITY
    frame(0x55, 0, 0, b"x") * 500,
], ids=["ping", "settings", "priority", "unknown"])
def test_control_flood(server, data):
    flood(server, data)
    alive(server)


def test_unknown_frames_are_ignored(server):
    with server.tls() as sock:
        sock.sendall(PREFACE + frame(0x55, 0, 0, b"x") * 900 +
                     frame(1, 5, 1, request("/test.Echo/Nothing")))
        assert read_frames(sock, is_end(1))[-1] is not None


def test_empty_data_flood(server):
    first = frame(1, 4, 1, request("/test.Echo/Hang"))
    flood(server, lambda i: (first if i == 0 else b"") +
          frame(0, 0, 1) * 500)
    alive(server)


def test_rapid_reset(server):
    def opens(i):
        out = b""
        for j in range(100):
            stream = 1 + 2 * (i * 100 + j)
            out += frame(1, 4, stream, request("/test.Echo/Hang"))
            out += frame(3, 0, stream, bytes([0, 0, 0, 8]))
        return out
    flood(server, opens)
    assert server.counters()["streams_open"] == 0
    alive(server)


def test_made_you_reset(server):
    """Requests that make the server reset them itself."""
    def opens(i):
        out = b""
        for j in range(20):
            stream = 1 + 2 * (i * 20 + j)
            # A body is announced and none comes: a stream error.
            out += frame(1, 5, stream, request(
                "/test.Echo/Hang", more=[("content-length", "9")]))
        return out
    flood(server, opens)
    alive(server)


def test_header_flood(server):
    """A header list that is small on the wire and large unpacked."""
    big = b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000      # indexed: 62
    block = request("/test.Echo/Hang") + big + b"\xbe" * 8000

    def opens(i):
        return frame(1, 4, 1 + 2 * i, block)
    before = quiet(server)["abuse"]
    with server.tls() as sock:
        sock.sendall(PREFACE + opens(0))
        # Far too large: the connection ends, ENHANCE_YOUR_CALM.
        frames = read_frames(sock, lambda f: f[0] == 7)
        assert frames[-1] is not None and frames[-1][3][7] == 11
    assert server.counters()["abuse"] == before + 1
    flood(server, opens, rounds=5000)
    alive(server)


def test_continuation_flood(server):
    with server.tls() as sock:
        sock.sendall(PREFACE + frame(1, 0, 1, request()))
        try:
            for _ in range(100):
                sock.sendall(frame(9, 0, 1, literal("a", "b") * 100))
        except (ssl.SSLError, OSError):
            pass
        assert read_frames(sock, lambda f: False)[-1] is None
    alive(server)


def test_stalled_window_is_bounded(server):
    """Asking for much and reading nothing costs the server little."""
    def resident():
        with open("/proc/%d/statm" % server.process.pid) as file:
            return int(file.read().split()[1]) * 4096
    before = resident()
    socks = []
    for _ in range(10):
        sock = server.tls()
        socks.append(sock)
        sock.sendall(PREFACE)
        body = b"\0" + (1000).to_bytes(4, "big") + bytes(1000)
        sock.sendall(frame(1, 4, 1, request("/test.Echo/Stream")))
        sock.settimeout(0.3)
        try:
            for _ in range(3000):
                sock.sendall(frame(0, 0, 1, body))
        except (TimeoutError, socket.timeout, ssl.SSLError, OSError):
            pass
    assert resident() - before < 64 * 1024 * 1024
    alive(server)
    for sock in socks:
        sock.close()
