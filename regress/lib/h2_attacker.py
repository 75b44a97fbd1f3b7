"""A hostile HTTP/2 client: frames made by hand, over TLS, to a listener of a
node, from an address of 127/8 of one's choice. It reads what the node says
only when told to."""

import functools
import socket
import ssl
import tempfile
import time

from mesh_member import Member

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY,
 WINDOW_UPDATE, CONTINUATION) = range(10)
END_STREAM, END_HEADERS = 1, 4
NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, CANCEL, CALM = \
    0, 1, 7, 8, 11
GONE = (ssl.SSLError, ConnectionError, BrokenPipeError)
OPEN = "/approuter.v1.AppRouter/Open"
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def frame(kind, flags=0, stream=0, payload=b""):
    return (len(payload).to_bytes(3, "big") + bytes([kind, flags]) +
            stream.to_bytes(4, "big") + payload)


def literal(name, value):
    """One HPACK field, never indexed, no Huffman; each below 127 bytes."""
    return (b"\x10" + bytes([len(name)]) + name.encode() +
            bytes([len(value)]) + value.encode())


def request(path=HEALTH, more=(), **changes):
    """The header block of a gRPC call; a change to None leaves it out."""
    fields = {"method": "POST", "scheme": "https", "path": path,
              "authority": "localhost", **changes}
    fields = [(":" + k, fields[k]) for k in
              ("method", "scheme", "path", "authority") if fields[k]]
    fields += [(k, changes.get(k.replace("-", "_"), v)) for k, v in
               (("content-type", "application/grpc"), ("te", "trailers"))]
    return b"".join(literal(k, v) for k, v in fields + list(more) if v)


def message(body, length=None, compressed=0):
    """A gRPC message, or the beginning of one that says it has length."""
    return (bytes([compressed]) +
            (len(body) if length is None else length).to_bytes(4, "big") +
            body)


@functools.lru_cache(1)
def stranger():
    """A well-made certificate of a node that is nobody's member."""
    return Member("stranger").x509()


@functools.lru_cache
def context(listener, alpn="h2"):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols([alpn])
    if listener == "mesh":
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(b"".join(stranger()))
            pem.flush()
            made.load_cert_chain(pem.name)
    return made


def dial(node, listener, source="127.0.0.1", room=None):
    """A TCP connection; room: of its receive buffer, in bytes."""
    host, port = getattr(node, listener).rsplit(":", 1)
    sock = socket.socket()
    if room:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.settimeout(60)
    sock.bind((source, 0))
    sock.connect((host, int(port)))
    return sock


class Attacker:
    """One connection, TLS done and the preface said."""

    def __init__(self, node, listener, source="127.0.0.1", room=None,
                 settings=b""):
        self.frames = []  # (type, flags, stream, payload) that came
        self.ended = False
        self.part = b""
        self.sock = context(listener).wrap_socket(
            dial(node, listener, source, room))
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        """False when the node has cut us, or takes no more."""
        try:
            self.sock.sendall(data)
            return True
        except (TimeoutError, *GONE):
            return False

    def _take(self, data):
        self.part += data
        while len(self.part) >= 9:
            end = 9 + int.from_bytes(self.part[:3], "big")
            if len(self.part) < end:
                break
            self.frames.append((
                self.part[3], self.part[4],
                int.from_bytes(self.part[5:9], "big"), self.part[9:end]))
            self.part = self.part[end:]

    def drain(self):
        """Read what there is. True when the node said its last."""
        self.sock.setblocking(False)
        try:
            while not self.ended:
                data = self.sock.recv(65536)
                self._take(data)
                self.ended = not data
        except ssl.SSLWantReadError:
            pass
        except GONE:
            self.ended = True
        finally:
            self.sock.settimeout(60)
        return self.ended

    def read(self, match, timeout=60):
        """Read until a frame matches; that frame, None at the end."""
        seen, end = 0, time.monotonic() + timeout
        while True:
            for one in self.frames[seen:]:
                if match(one):
                    return one
            seen = len(self.frames)
            if self.ended or time.monotonic() > end:
                return None
            try:
                data = self.sock.recv(65536)
            except GONE:
                data = b""
            self._take(data)
            self.ended = not data

    def flood(self, data, rounds=400, answered=0):
        """Send data(i) again and again until cut; answered: let the node
        answer each of so many before it goes on."""
        for i in range(rounds):
            ask = frame(PING, 0, 0, bytes(8)) if i < answered else b""
            if not self.send(data(i) + ask):
                return
            if ask:
                self.read(lambda f: f[0] == PING and
                          sum(g[0] == PING for g in self.frames) > i)
            if self.drain():
                return

    def goaway(self):
        """The error of the last GOAWAY, once the node has ended it all;
        None without one."""
        self.read(lambda f: False)
        errors = [int.from_bytes(f[3][4:8], "big") for f in self.frames
                  if f[0] == GOAWAY]
        return errors[-1] if errors else None

    def resets(self, stream=None):
        """Errors of the streams that were reset."""
        return [int.from_bytes(f[3], "big") for f in self.frames
                if f[0] == RST_STREAM and stream in (None, f[2])]

    def answer(self, stream=1):
        """The header blocks of a call, once it has ended."""
        self.read(lambda f: f[2] == stream and (
            f[0] == RST_STREAM or (f[0] in (0, 1) and f[1] & END_STREAM)))
        return b"".join(f[3] for f in self.frames
                        if f[0] == HEADERS and f[2] == stream)


def served(node, listener, source):
    """Does it get as far as HTTP/2?"""
    try:
        with Attacker(node, listener, source) as one:
            return one.read(lambda f: f[0] == SETTINGS) is not None
    except (TimeoutError, *GONE):
        return False
