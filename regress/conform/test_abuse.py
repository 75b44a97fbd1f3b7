"""L30: HTTP/2 and gRPC abuse, on both listeners. For each attack: the abuser
is cut with the right error, a counter tells, the process holds no more than
hermesd(8) allows, and an honest chat goes on and loses nothing."""

import pathlib
import re
import ssl
import threading

import pytest

import hpack_status
from h2_attacker import (
    CALM, DATA, GOAWAY, GONE, HEADERS, HEALTH, PING, PRIORITY, REFLECTION,
    REFUSED_STREAM, RST_STREAM, WINDOW_UPDATE, Attacker, dial, frame,
    literal, message, request, served)
from h2_floods import ATTACKS, FLOODS, attack, ids, opening, questions
from hermes_node import Mesh, until
from hermes_wire import Session, pair

KIB, MIB = 1024, 1024 * 1024
# hermesd(8), ABUSE: what one connection of nobody makes a process hold, and
# what the attack as a whole may add besides.
NOBODY, SLACK = 256 * KIB, 32 * MIB
LIMITS = """limits {
\tunauthenticated 64
\tunauthenticated per source 16
\thandshakes 0
\thandshakes per source 0
\tconnect timeout 2s
}
penalty {
\thandshake 0
\tabuse 20s
\tthreshold 20s
}
"""


def memory(node, listener, what="VmHWM"):
    """Bytes of the process that has the listener."""
    pid = node.pids()["router" if listener == "app" else "mesh"]
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(what + r":\s+(\d+)", status)[1]) * KIB


def abuse(node, listener, kind):
    return node.metric(f'hermes_rpc_abuse_total{{listener="{listener}",'
                       f'kind="{kind}"}}')


class Honest:
    """A chat between two apps that goes on until stopped: every message is
    acknowledged and arrives, in order."""

    def __init__(self, one, two):
        self.a, self.b, _, _ = pair(one, two, "honest")
        self.acks = 0
        self.error = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._talk, daemon=True)
        self.thread.start()

    def _talk(self):
        try:
            while not self.stopped.is_set():
                n = self.acks + 1
                self.a.message("honest", n, b"%d" % n)
                assert self.b.received("honest") == (n, b"%d" % n)
                self.a.acked("honest", n)
                self.acks = n
        except BaseException as error:
            self.error = error

    def goes_on(self):
        """Messages sent from now on are acknowledged, too."""
        before = self.acks
        until("an honest message is acknowledged", lambda:
              self.error or self.acks > before + 2)
        assert self.error is None, self.error

    def stop(self):
        self.stopped.set()
        self.thread.join(60)
        assert self.error is None, self.error
        self.a.close()
        self.b.close()


@pytest.fixture(scope="module")
def two():
    with Mesh(2, LIMITS) as mesh:
        yield mesh
        for node in mesh.nodes:
            assert node.healthy(), node.log()[-4000:]


@pytest.fixture(scope="module")
def honest(two):
    one = Honest(two[0].app, two[1].app)
    one.goes_on()
    yield one
    one.stop()


@pytest.fixture(params=["app", "mesh"])
def door(request, two, honest):
    """(node, listener, counted): counted(kind) awaits one more of a kind."""
    node, listener = two[0], request.param
    before = {}
    for name, value in node.metrics().items():
        if name.startswith("hermes_rpc_abuse_total"):
            before[name] = value
    peak = memory(node, listener)

    def counted(kind, more=1):
        name = (f'hermes_rpc_abuse_total{{listener="{listener}",'
                f'kind="{kind}"}}')
        until(f"{more} more {name}", lambda:
              node.metrics()[name] >= before[name] + more)
    honest.goes_on()
    yield node, listener, counted
    honest.goes_on()
    # "limits unauthenticated" of nobody's connections at most.
    assert memory(node, listener) - peak <= 64 * NOBODY + SLACK
    assert node.healthy()


# --- floods: GOAWAY ENHANCE_YOUR_CALM ---------------------------------------

# Each flood has a source of its own, which pays for it and is kept out.
SOURCES = {name: f"127.0.{100 + i}.1" for i, name in enumerate(FLOODS)}
# How many portions of a kind must be answered for it to be of that kind.
ANSWERED = {"provoked_reset": 400, "call": 400, "bytes": 1}


@pytest.mark.parametrize("name", sorted(FLOODS))
def test_L30_flood(door, name):
    node, listener, counted = door
    kind, data = FLOODS[name]
    source = SOURCES[name]
    with Attacker(node, listener, source) as attacker:
        attacker.flood(data, answered=ANSWERED.get(kind, 0))
        assert attacker.goaway() == CALM
        if name == "many-streams":
            assert REFUSED_STREAM in attacker.resets()
        if name == "large-headers":
            assert CALM in attacker.resets()
    counted(kind)
    assert not served(node, listener, source)
    counted("penalty")


@pytest.mark.parametrize("said", [
    opening(1) + frame(WINDOW_UPDATE, 0, 1, bytes(4)),
    opening(1, flags=5) + frame(DATA, 0, 1, b"x"),
    opening(1) + frame(PRIORITY, 0, 1, b"\0\0\0\1\1"),
    opening(2), opening(3) + opening(1),
    frame(HEADERS, 4, 1, b"\xff" * 5)],
    ids=["window-0", "data-after-end", "own-parent", "even", "lower", "hpack"])
def test_L30_what_breaks_http2_ends_it(door, said):
    """Made to reset, in ways that HTTP/2 lets one answer with the end."""
    node, listener, _ = door
    name = (f'hermes_connection_errors_total{{listener="{listener}",'
            f'cause="protocol"}}')
    before = node.metric(name)
    with Attacker(node, listener) as attacker:
        attacker.send(said + frame(PING, 0, 0, b"barrier!"))
        came = attacker.read(lambda f: f[0] in (GOAWAY, RST_STREAM) or
                             f[3] == b"barrier!")
        if came and came[0] == GOAWAY:
            assert attacker.goaway() not in (None, 0)
            until("counted", lambda: node.metric(name) > before)


# --- messages and calls: a gRPC status, the connection lives ----------------

def status(blocks):
    """grpc-status of a connection's first trailers, Huffman coded or not."""
    match = re.search(rb"grpc-status|\x9a\xca\xc8\xb2\x12\x34\xda\x8f", blocks)
    assert match, blocks
    size = blocks[match.end()]
    value = blocks[match.end() + 1:match.end() + 1 + (size & 0x7f)]
    return int(hpack_status.huffman_digits(value) if size & 0x80 else value)


UNIMPLEMENTED, INTERNAL, EXHAUSTED, LATE = 12, 13, 8, 4
MESSAGES = {
    "4-gib": (message(b"", 2 ** 32 - 1), (), EXHAUSTED),
    "before-connect": (message(bytes(100), 100 * KIB), (), EXHAUSTED),
    "compressed": (message(b"x", compressed=1),
                   [("grpc-encoding", "gzip")], UNIMPLEMENTED),
    "compressed-unsaid": (message(b"x", compressed=1), (), INTERNAL),
    "flags": (message(b"x", compressed=9), (), INTERNAL),
}


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_L30_message(door, name):
    node, listener, counted = door
    said, more, code = MESSAGES[name]
    with Attacker(node, listener) as attacker:
        attacker.send(opening(1, REFLECTION, more=more) +
                      frame(DATA, 0, 1, said))
        assert status(attacker.answer()) == code
        attacker.send(frame(PING, 0, 0, b"alive?!?"))
        assert attacker.read(lambda f: f[3] == b"alive?!?")
    counted("message")


@pytest.mark.parametrize("changes, http, code", [
    ({"path": "/no.Such/Method"}, "200", UNIMPLEMENTED),
    ({"path": "/" + "x" * 110}, "200", UNIMPLEMENTED),
    ({"content_type": "text/html"}, "415", None),
    ({"content_type": ""}, "415", None),
    ({"method": "GET"}, "405", None), ({"te": ""}, "400", None),
    ({"more": [("grpc-timeout", "1x")]}, "200", INTERNAL)])
def test_L30_call(door, changes, http, code):
    node, listener, _ = door
    with Attacker(node, listener) as attacker:
        attacker.send(opening(1, flags=5, **changes))
        answer = attacker.answer()
        assert hpack_status.of(answer) == http
        assert code is None or status(answer) == code


def test_L30_trailers(door):
    """Trailers of a client are read, bounded, and never begin a call."""
    node, listener, counted = door
    with Attacker(node, listener) as attacker:
        attacker.send(opening(1, REFLECTION) + frame(
            HEADERS, 5, 1, literal("x", "y")))
        assert status(attacker.answer()) == 0
        attacker.send(opening(3, REFLECTION) + frame(
            HEADERS, 5, 3, b"".join(literal("x", "y") for _ in range(100))))
        assert attacker.read(lambda f: f[0] == RST_STREAM and f[2] == 3)
        assert attacker.resets(3) == [CALM]
        attacker.send(opening(5, REFLECTION) + frame(
            HEADERS, 4, 5, literal("x", "y")) + frame(DATA, 1, 5))
        assert attacker.read(lambda f: f[0] in (RST_STREAM, GOAWAY) or
                             (f[2] == 5 and f[1] & 1))
    counted("headers")


# --- memory -----------------------------------------------------------------

def test_L30_parts_of_messages_are_bounded(door):
    """Many calls, none of whose messages becomes whole."""
    node, listener, counted = door
    attackers = [Attacker(node, listener) for _ in range(20)]
    for attacker in attackers:
        for s in ids(0, 20):
            attacker.send(opening(s, REFLECTION) + frame(
                DATA, 0, s, message(bytes(15 * KIB), 30 * KIB)))
        attacker.answer(1 + 2 * 19)
        refused = [f for f in attacker.frames if f[0] == HEADERS]
        assert status(refused[0][3]) == EXHAUSTED
        assert len(refused) >= 15
    counted("memory", 20)
    for attacker in attackers:
        attacker.sock.close()


def test_L30_windows_never_opened(door):
    """Questions without number and no room for an answer: neither in the
    stream's window nor in the socket."""
    node, listener, counted = door
    shut = [Attacker(node, listener, settings=b"\0\4\0\0\0\0")
            for _ in range(10)]
    deaf = [Attacker(node, listener, room=4 * KIB) for _ in range(5)]
    for attacker in shut + deaf:
        attacker.send(questions())
    for attacker in shut:
        assert attacker.goaway() == CALM
    counted("stalled", 10)
    for attacker in deaf:
        until("the end", attacker.drain)
        attacker.sock.close()


# --- slowness ---------------------------------------------------------------

def test_L30_drip(two, honest):
    """Header lists, bodies and handshakes a byte at a time, on both
    listeners at once, so that one wait does for all."""
    node = two[0]
    doors = ("app", "mesh")
    before = {(d, k): abuse(node, d, k) for d in doors
              for k in ("slow_headers", "slow_body")}
    ends = {}

    def drip(key, attacker, first_, byte):
        attacker.send(first_)
        until("cut", lambda: not attacker.send(byte()) or attacker.drain()
              or any(f[2] == 1 and f[0] in (1, 3) for f in attacker.frames))
        ends[key] = attacker

    threads = []
    for door_ in doors:
        for key, first_, byte in (
                ("headers", frame(HEADERS, 0, 1, request()[:-1]),
                 lambda: b""),
                ("frame", frame(HEADERS, 4, 1, request())[:20],
                 lambda: b"\0"),
                ("trailers", opening(1, REFLECTION) + frame(
                    HEADERS, 0, 1, literal("x", "y")), lambda: b""),
                ("body", opening(1, REFLECTION) + frame(
                    DATA, 0, 1, message(b"x", 20 * KIB)),
                 lambda: frame(DATA, 0, 1, b"x")),
                ("nothing", opening(1, HEALTH), lambda: b"")):
            attacker = Attacker(node, door_)
            threads.append(threading.Thread(target=drip, args=(
                (door_, key), attacker, first_, byte), daemon=True))
            threads[-1].start()
    for thread in threads:
        thread.join()
    for door_ in doors:
        for key in ("headers", "trailers"):
            assert ends[door_, key].goaway() == CALM, key
        for key in ("body", "nothing"):
            assert status(ends[door_, key].answer()) == LATE, key
        assert (door_, "frame") in ends
        for kind, more in (("slow_headers", 2), ("slow_body", 2)):
            until(kind, lambda: abuse(node, door_, kind) >=
                  before[door_, kind] + more)
    honest.goes_on()


# --- connections of nobody --------------------------------------------------

def gone(sock):
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except GONE:
        return True


def test_L30_idle_handshakes(door):
    """So many of a source, so many in all, the oldest go first; who says
    who it is comes in all the same."""
    node, listener, counted = door
    one = [dial(node, listener, "127.0.9.2") for _ in range(200)]
    other = dial(node, listener, "127.0.9.1")
    newest = dial(node, listener, "127.0.9.2")
    # At once: after 10 s without a handshake each of them goes.
    until("the oldest of the source went",
          lambda: all(gone(s) for s in one[:-15]))
    assert not gone(newest) and not gone(other)
    counted("displaced", 201 - 16)
    # From many sources: other is the oldest in all.
    many = [dial(node, listener, f"127.0.{10 + i // 200}.{1 + i % 200}")
            for i in range(2000)]
    until("the oldest in all went", lambda: gone(other) and gone(newest))
    until("so many are left", lambda: sum(not gone(s) for s in many) <= 64)
    with Session(node.app) as newcomer:
        newcomer.connect()
    with Attacker(node, listener, "127.0.9.3") as late:
        late.send(frame(PING, 0, 0, b"still in"))
        assert late.read(lambda f: f[0] == PING)
    for sock in one + many + [other, newest]:
        sock.close()


def test_L30_all_at_once(door, honest):
    """Every attack, each again and again: meanwhile every honest message is
    acknowledged, and who is new comes in."""
    node, listener, counted = door
    stopped = threading.Event()
    attackers = [
        threading.Thread(target=attack, daemon=True, args=(
            name, node, listener, [f"127.0.{200 + i}.1"], stopped.is_set))
        for i, name in enumerate(ATTACKS)]
    for thread in attackers:
        thread.start()
    counted("penalty", 20)
    before = honest.acks
    until("100 honest messages are acknowledged", lambda:
          honest.error or honest.acks > before + 100)
    assert honest.error is None, honest.error
    with Session(node.app) as newcomer:
        newcomer.connect()
    stopped.set()
    for thread in attackers:
        thread.join(60)
        assert not thread.is_alive()


def test_L30_sources_are_let_in_again(two):
    """Once they have paid; nothing else has to happen."""
    for listener in ("app", "mesh"):
        for name, source in SOURCES.items():
            until(f"{name} may come back to {listener}",
                  lambda: served(two[0], listener, source))
