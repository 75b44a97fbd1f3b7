#!/usr/bin/python3
"""Write the first corpus of every fuzz target: seeds.py FOLDER. The same each
time; what a search adds to it is chosen with libFuzzer's -merge=1."""
import glob
import hashlib
import os
import random
import struct
import sys

FOLDER = sys.argv[1]


def put(target, name, data):
    folder = os.path.join(FOLDER, target)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def bytes_of(seed, length):
    return random.Random(seed).randbytes(length)


# Scripts: any bytes are one.
for target, count, longest in (("keyd", 24, 700), ("chats", 16, 500),
                               ("chat", 8, 400), ("swim", 12, 400),
                               ("directory", 12, 400), ("records", 12, 200),
                               ("e2e", 16, 500)):
    for i in range(count):
        chance = random.Random("%s%d" % (target, i))
        put(target, "seed%02d" % i,
            bytes([i]) + chance.randbytes(chance.randrange(40, longest)))

# The largest payload a router may send: sealed it is too large for a door.
put("keyd", "largest-seal", bytes([1, 19, 0, 5, 0, 0, 1]))

# A locked store, and control guesses until it has to wait.
put("keyd", "guesses", bytes([0x70]) + 4 * (bytes([18, 0, 7, 3]) + b"abc"))


# Doors: frames of every type, length and descriptor as they come.
def ipc_frame(kind, length, descriptor, fill):
    body = bytes([fill]) * length
    frame = struct.pack("=IHH", length, kind, descriptor) + body
    return frame + bytes(-len(frame) % 8)


for i in range(12):
    chance = random.Random("ipc%d" % i)
    frames = b"".join(ipc_frame(chance.randrange(1, 90), chance.choice(
        (8, 16, 48, 96)), chance.randrange(8) == 0, i) for _ in range(6))
    put("ipc", "seed%02d" % i, bytes([8]) + chance.randbytes(8) + frames)


# Protobuf by hand: wire types 0 and 2 are all there is.
def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    if isinstance(value, str):
        value = value.encode()
    return varint(field << 3 | 2) + varint(len(value)) + value


def app_frame(field, body):
    return text(1, "correlation") + text(field, body)


PAIR = text(1, "accept") + text(2, "auto")
START_CHAT = (text(1, "a chat") + text(2, bytes(32)) + text(3, bytes(64)) +
         text(4, PAIR) + text(5, "ab" * 32) + text(7, bytes(32)) +
         number(8, 2) + text(9, b"salt") + text(10, b"info") + number(11, 1))
put("frames", "connect", app_frame(2, text(1, bytes(32)) + text(
    2, bytes(64)) + text(3, "node") + text(4, PAIR) + text(5, bytes(32)) +
    number(6, 1) + number(7, 2)))
put("frames", "start", app_frame(4, START_CHAT))
put("frames", "message", app_frame(6, text(1, "c") + text(2, b"x" * 40) +
                                   number(3, 7) + text(20, "ab" * 32)))
put("frames", "ack", app_frame(7, text(1, "c") + number(2, 7)))
put("frames", "delete", app_frame(8, text(1, "c") + text(2, "why")))
put("frames", "heartbeat", app_frame(11, number(1, 12345)))
put("frames", "find", app_frame(12, text(1, "ab" * 32) + text(2, "node")))
put("frames", "unknown", app_frame(99, b"what"))

# Signed things, by their layout; nothing in them is signed.
KEY = bytes(range(32))
NODE = b"node-one" + bytes(56)


def lp(value):
    return struct.pack(">I", len(value)) + value


LO, HI = bytes([1]) * 32, bytes([2]) * 32
HANDLE = hashlib.blake2b(b"hermes-chat-handle-v1" + lp(b"a chat") + LO + HI,
                         digest_size=32).digest()
OFFER = (b"hermes-offer-v2" + HANDLE + struct.pack(">IIB", 1, 0, 0) + LO + HI +
         KEY * 5 + struct.pack(">Q", 1) + bytes(16) + bytes(64))
put("sign", "offer", b"\x04" + OFFER)
put("sign", "attestation", b"\x03\x02" + KEY * 3 + NODE + struct.pack(
    ">QQ", 1700000000 * 10**9, 1700000600 * 10**9) + KEY + bytes(64))
CERTIFICATE = (hashlib.sha256(KEY).digest() + NODE + KEY +
               struct.pack(">QQ", 1, 1800000000 * 10**9) + bytes(64))
put("sign", "certificate", b"\x02" + CERTIFICATE)
put("sign", "text", b"\x01hermes1" + b"abcdefghijklmnop" * 8)
for i in range(4):
    put("sign", "ticket%d" % i, b"\x00" + b"hermes-ticket-v1" + KEY * i +
        bytes_of("ticket%d" % i, 120))
put("sign", "binding", b"\x05" + NODE + KEY + bytes(64))
put("sign", "x509", b"\x06\x30\x82\x01\x00" + bytes_of("x509", 80))

# The same signed with a key of the target's; the last bytes spoil a bit.
for i in range(7, 12):
    for j, ending in enumerate((b"", b"\x01\x03" * 8)):
        put("sign", "signed%d-%d" % (i, j), bytes([i]) + bytes_of(
            "signed%d" % i, 150) + ending)
        put("sign", "valid%d-%d" % (i, j), bytes([i]) + bytes(40) + ending * 20)

# RouteFrames and gossip.
RELAY = (text(1, "a chat") + text(2, b"y" * 48) + number(3, 4) +
         text(4, HANDLE) + number(5, 1) + number(6, 9))
SETUP = (text(1, "a chat") + text(2, LO.hex()) + text(3, HI.hex()) +
         text(6, PAIR) + text(7, "one") + text(8, bytes([1, 2, 3]) +
                                               bytes(29)) +
         number(9, 1) + text(13, OFFER))
INSTANCE = bytes(range(16))
put("mesh", "relay", b"\x00" + text(1, "c") + text(3, RELAY))
put("mesh", "setup", b"\x00" + text(2, SETUP))
put("mesh", "setup-bare", b"\x01" + SETUP)
put("mesh", "setup-resume", b"\x01" + SETUP + text(14, number(1, 3) + number(
    2, 1) + number(3, 2) + number(4, 1) + text(6, INSTANCE)))
put("mesh", "teardown", b"\x00" + text(4, text(1, "a chat") + text(
    2, "deleted") + text(3, HANDLE) + number(4, 3) + text(5, INSTANCE)))
put("mesh", "error", b"\x00" + text(5, text(1, "AUTH_FAILED") +
                                    text(4, HANDLE)))
put("mesh", "ack", b"\x00" + text(6, number(2, 8) + text(3, HANDLE)))
put("mesh", "credit", b"\x00" + text(7, text(1, HANDLE) + number(2, 256) +
                                     number(3, 1 << 20)))
DESCRIPTOR = (text(1, "node-one") + text(2, "127.0.0.1:7444") + text(3, KEY) +
              text(5, PAIR) + number(6, 5) + text(7, KEY) +
              text(8, CERTIFICATE) + text(9, bytes(64)) + text(10, "app"))
put("mesh", "descriptor", b"\x03" + DESCRIPTOR)
put("mesh", "member", b"\x02" + text(2, number(1, 5) + text(2, DESCRIPTOR) +
                                     number(3, 5) + text(5, bytes(64))))
APP = (text(1, "ab" * 32) + text(2, "node-one") + text(3, "0f" * 16) +
       text(4, PAIR) + number(5, 9) + text(6, bytes(273)) + number(8, 2))
put("mesh", "presence", b"\x02" + text(3, text(1, "node-one") +
                                       text(2, APP) + number(3, 2) +
                                       number(4, 1) + text(5, bytes(64))))


# HTTP/2: SETTINGS come with the target's preface.
def h2(kind, flags, stream, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes(
        [kind, flags]) + struct.pack(">I", stream) + body


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def call(stream, path, message, end=1):
    headers = (b"\x83\x87" + literal(b":path", path) +
               literal(b":authority", b"x") +
               literal(b"content-type", b"application/grpc") +
               literal(b"te", b"trailers") + literal(b"grpc-timeout", b"9S"))
    frame = b"\x00" + struct.pack(">I", len(message)) + message
    return h2(1, 4, stream, headers) + h2(0, end, stream, frame)


RPC = {
    "unary": call(1, b"/t.T/U", b"hello"),
    "stream": call(1, b"/t.T/S", b"hello", 0) + h2(0, 1, 1, b""),
    "health": call(1, b"/grpc.health.v1.Health/Check", text(1, "t.T")),
    "watch": call(1, b"/grpc.health.v1.Health/Watch", b"", 0) +
    h2(3, 0, 1, struct.pack(">I", 8)),
    "reflection": call(
        1, b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        text(7, "*")),
    "unknown": call(1, b"/no.Such/Method", b""),
    "reset": call(1, b"/t.T/S", b"\xee", 0) + h2(3, 0, 1, bytes(4)),
    "ping": h2(6, 0, 0, bytes(8)) + h2(8, 0, 0, struct.pack(">I", 100)),
    "settings": h2(4, 0, 0, struct.pack(">HI", 4, 10)) + h2(4, 1, 0),
    "goaway": h2(7, 0, 0, bytes(8)),
    "cut": call(1, b"/t.T/S", b"z" * 300, 0)[:120],
    "broken": call(1, b"/t.T/S", b"", 0) + h2(0, 1, 1, b"\x02\0\0\0\1x"),
}
for name, data in RPC.items():
    for how in (4, 8):
        put("rpc", "%s%d" % (name, how), bytes([how, len(name)]) + data)

# Configuration: what the unit tests read.
for path in sorted(glob.glob("regress/unit/config/*.conf"))[:24] + [
        "etc/hermesd.conf.sample"]:
    with open(path, "rb") as file:
        data = file.read()
    if len(data) <= 2048:
        put("config", os.path.basename(path), data)
put("config", "itself", b'include "/fuzz.conf"\n')

# hosts (1) and resolv.conf (0): where the name that is looked up begins, text.
for name, which, at, data in (
        ("hosts", 1, 10, b"127.0.0.1\tlocalhost loop\n# no\n::1 localhost\n"
         b"10.0.0.7 Alpha.example alpha # ours\n"),
        ("hosts-long", 1, 0, b"a" * 130 + b" a\n1.2.3.4 a"),
        ("resolver", 0, 200, b"domain example.org\nsearch a.example b.example\n"
         b"nameserver 192.0.2.1\nnameserver 2001:db8::1\n"
         b"options timeout:1 attempts:2 ndots:3 rotate\n; no\n"),
        ("resolver-odd", 0, 200, b"nameserver\nnameserver x\noptions :\n"
         b"search\n\tnameserver  127.0.0.1 # ours\r\n")):
    put("names", name, bytes((which, at)) + data)

# control: a request, a NUL, answers (process, tail, fill, type, bytes).
for i, request in enumerate((
        b'{"command": "show", "what": "chats", "full": true}',
        b'{"command": "show", "what": "nodes"}',
        b'{"command": "show", "what": "ratchets"}',
        b'{"command": "show", "what": "sessions"}',
        b'{"command": "show", "what": "tickets"}',
        b'{"command": "status"}', b'{"command": "metrics"}',
        b'{"command": "mesh create"}',
        b'{"command": "mesh revoke", "node": "x"}',
        b'{"command": "ticket", "ttl": 3600, "uses": 2}',
        b'{"command": "join", "ticket": "hermes1abc"}',
        b'{"command": "rekey", "chat": "all"}', b'{"command": "erase"}',
        b'{"command": "unlock"}', b'{"command": "reload"}', b'[1, {}]')):
    put("control", "command%02d" % i, b"\x00" + request + b"\n\0" +
        bytes_of("control%d" % i, 160))
for i, path in enumerate((b"healthz", b"readyz", b"metrics", b"mesh/members",
                          b"mesh/apps", b"crypto/ratchets", b"x?y")):
    head = (b"GET /" + path + b" HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")
    put("control", "http%d" % i, b"\x31" + head + b"\0" +
        bytes_of("http%d" % i, 160))


# Backups: raw bytes; sealed frames of good and of any records.
put("backup", "raw", bytes([1]) + b"hermes-backup1\0\0" + bytes(120))
put("backup", "empty", bytes([0, 0, 0]))
put("backup", "node", bytes([0, 0, 1, 0]) + bytes_of("node", 32))
put("backup", "counters", bytes([0, 0, 2, 0]) + bytes_of("node", 96) +
    bytes([1]) + bytes(24))
for i in range(12):
    chance = random.Random("backup%d" % i)
    put("backup", "seed%02d" % i, bytes([0, chance.randrange(256)]) +
        chance.randbytes(chance.randrange(40, 800)))


# Sessions of apps: a configuration, then steps (fuzz_router.c).
OPEN, CONNECT, START, SAY, DELETE, FIND, RAW, SLOW, CLOSE = (
    0, 1, 2, 4, 7, 8, 9, 10, 11)
ALL, KEYD, MESH, WAIT, AGE, KEYD_SAYS, MESH_SAYS, MESH_DOWN, ASK, PLAY, SET = (
    bytes([0x80 + k]) for k in (0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))


def on(slot, step, *more):
    return bytes([slot * 12 + step]) + bytes(more)


def app_in(slot, who, how=0):
    return on(slot, OPEN) + ALL + on(slot, CONNECT, who, how) + ALL


BOTH = app_in(0, 0) + app_in(1, 1)
READY = (BOTH + on(0, START, 1 << 2, 0) + ALL + on(1, START, 0, 0) + ALL)
TALK = READY + b"".join(on(i % 2, SAY, 0, 0x11 + 16 * i) + ALL
                        for i in range(6))
ROUTER = {
    "talk": TALK,
    "auto": app_in(0, 0) + app_in(1, 1, 1) + on(0, START, 4, 0) + ALL +
    on(0, SAY, 0, 0x20) * 5 + ALL,
    "signed": BOTH + on(0, START, 0xe4, 0x20) + ALL + on(
        1, START, 0xe0, 0x20) + ALL + on(0, START, 0xe4, 0x60, 3) + ALL,
    "rekey": TALK + on(0, START, 4, 1) + ALL + on(1, START, 0, 1) + ALL,
    "resume": TALK + on(1, CLOSE, 0) + ALL + on(0, SAY, 0, 0x30) * 3 + ALL +
    app_in(1, 1) + on(1, START, 0, 2) + ALL + on(0, SAY, 0, 0x40) + ALL,
    "replaced": TALK + app_in(2, 1) + on(2, START, 0, 2) + ALL + on(
        0, SAY, 0, 0x30) + ALL,
    "half": TALK + on(0, SAY, 0, 0x30) + on(0, CLOSE, 1) + ALL,
    "delete": TALK + on(0, DELETE, 0) + ALL + READY[len(BOTH):] + on(
        1, DELETE, 0x80) + on(0, DELETE, 0x84) + ALL,
    "ambiguous": TALK + app_in(2, 2) + on(2, START, 0, 0) + ALL + on(
        0, START, 8, 0) + ALL + on(0, SAY, 0, 0x20) + on(
        0, SAY, 0x8, 0x22) + on(0, SAY, 0x4, 0x22) + ALL + on(0, DELETE, 0),
    "order": READY + on(0, SAY, 0, 0x14, 5) + on(0, SAY, 0, 0x14, 1) + ALL +
    on(0, SAY, 0, 0x14, 1) + ALL + on(0, SAY, 0, 0xf0) + ALL,
    "slow": READY + on(1, SLOW, 3) + on(0, SAY, 0, 0xa0) * 24 + ALL + on(
        1, SLOW, 2) + ALL + WAIT + b"\x20" + on(1, SLOW, 0) + ALL,
    "lost": READY + PLAY + b"\x01" + on(0, SAY, 0, 0x20) * 4 + ALL + PLAY +
    b"\x00" + on(0, SAY, 0, 0x20) + ALL + WAIT + b"\xff" + ALL,
    "mesh": TALK + MESH_DOWN + b"\0" + on(0, SAY, 0, 0x20) + ALL + MESH_DOWN +
    b"\1" + ALL + MESH_SAYS + b"\x87\0" + ALL + on(0, SAY, 0, 0x20) + ALL,
    "gone": TALK + MESH_SAYS + b"\x88\0\1" + ALL,
    "moved": TALK + MESH_SAYS + b"\x83\0" + bytes([255] * 7 + [127]) + ALL,
    # Back from another node, where it got one more and was acknowledged two.
    "arrived": TALK + app_in(2, 1, 2) + on(2, START, 0, 0x84, 1, 6, 5) + ALL +
    on(0, SAY, 0, 0x20) + on(2, SAY, 0, 0x24, 6) + ALL + on(
        2, SAY, 0, 0x24, 6) + ALL,
    "arrived-auto": TALK + app_in(2, 1, 3) + on(0, START, 4, 0x84, 1, 4, 4) +
    ALL + on(2, START, 0, 0x84, 1, 9, 5) + ALL + on(0, SAY, 0, 0x20) + ALL,
    "left-and-ended": TALK + on(2, OPEN) + ALL + on(2, CONNECT, 1, 2) + on(
        2, START, 0, 0x84, 1, 6, 5) + KEYD_SAYS + b"\0\0" + ALL + KEYD_SAYS +
    b"\3\x12" + ALL,
    "gone-on": BOTH + on(0, START, 4, 0x84, 9, 7, 7) + ALL + on(
        1, START, 0, 0x84, 9, 9, 5) + ALL + on(0, SAY, 0, 0x24, 7) + on(
        1, SAY, 0, 0x24, 9) + ALL + on(1, START, 0, 0x84, 9, 80, 80) + ALL,
    "far-on": BOTH + on(0, START, 4, 0x84, 9, 0xff, 0xf0) + ALL + on(
        1, START, 0, 0x84, 9, 0xe7, 0xe8) + ALL + on(0, SAY, 0, 0x20) + on(
        1, SAY, 0, 0x20) + ALL + on(0, START, 4, 0x86, 9, 0xf0, 0xe1) + ALL,
    "lies": TALK + b"".join(MESH_SAYS + bytes([0x80 | k, k]) + bytes(
        [k] * 20) + ALL for k in range(9)),
    "nodes": MESH_SAYS + b"\x05\0node-b" + bytes(18) + BOTH,
    "unknown": app_in(0, 0) + on(0, START, 4, 0) + ALL + on(
        0, START, 4, 0x18) + ALL + on(0, FIND, 4) + on(0, FIND, 6) + on(
        0, FIND, 1) + ALL,
    "refused": BOTH + PLAY + b"\x78" + on(0, START, 4, 0) + ALL + PLAY +
    b"\0" + on(0, START, 4, 4, 9) + ALL,
    "keyd": TALK + KEYD_SAYS + b"\1\0" + KEYD_SAYS + b"\2\0" + KEYD_SAYS +
    b"\3\x12" + ALL + KEYD_SAYS + b"\0\6" + ALL,
    "recalled": KEYD_SAYS + b"\4\4" + KEYD_SAYS + b"\4\5" + READY + on(
        0, START, 4, 2) + on(1, START, 0, 2) + ALL + on(0, SAY, 0, 0x20) + ALL,
    "failed": TALK + KEYD_SAYS + b"\3\x14" + ALL,
    "asked": TALK + b"".join(ASK + bytes([k]) for k in (
        4, 8, 32, 1, 6, 2, 7, 3)) + on(0, START, 5, 0) + ALL,
    "expired": TALK + AGE + b"\x3f" + ALL + AGE + b"\xff" + ALL,
    "congested": READY + PLAY + b"\x80" + on(0, SAY, 0, 0x20) * 3 + PLAY +
    b"\0" + ALL,
    "raw": app_in(0, 0) + b"".join(on(0, RAW) + struct.pack(
        "=H", len(body)) + body for body in (
        app_frame(4, START_CHAT), app_frame(99, b"what"), b"\xff\xff",
        app_frame(11, number(1, 5)))) + ALL,
}
for name, steps in ROUTER.items():
    put("router", name, b"\0" + steps)
put("router", "limits", b"\xf6" + TALK + on(0, SAY, 0, 0x20) * 9 + ALL + on(
    0, START, 5, 0) * 4 + app_in(2, 2))
put("router", "idle", b"\x08" + TALK + AGE + b"\2" + ALL)
put("router", "v1", b"\x01" + on(0, OPEN) + on(0, CONNECT, 0, 0x80, 6) + on(
    1, OPEN) + on(1, CONNECT, 1, 0x81, 6) + ALL + on(0, START, 4, 0) + ALL +
    on(0, SAY, 0, 0x20) + ALL)
for i in range(8):
    put("router", "spoiled%d" % i, b"\0" + on(0, OPEN) + ALL + on(
        0, CONNECT, 0, 0x80, i, 1) + ALL + app_in(1, 1))
put("router", "crowd", b"\x20" + b"".join(on(i, OPEN) for i in range(5)) + ALL +
    WAIT + b"\x70")


# Nodes round a mesh process: how it begins, then steps (fuzz_peers.c).
SELF, BETA, MALLORY, LATE, SHORT, FORGED, STRANGER = range(7)
JOIN, GOSSIP, ROUTE = range(3)
GOOD = 1


def line(at, how, step=0):
    return bytes([at + 6 * step, how])


def says(at, call, *more):
    return bytes([64 + at + 6 * {GOSSIP: 0, ROUTE: 1, JOIN: 2}[call]]) + bytes(
        more)


def house(step, *more):
    return bytes([192 + step]) + bytes(more)


def event(kind, about, how=GOOD, incarnation=3):
    return (kind, about, how, incarnation)


def comes(at, who, *calls):
    return line(at, who) + b"".join(line(at, call) for call in calls)


def lives(at, who):
    return comes(at, who, GOSSIP, ROUTE) + says(at, GOSSIP, 0, *event(5, who))


def syncs(at, who, *apps_of, full=4, sequence=1):
    return says(at, GOSSIP, 4, who, len(apps_of) | full, sequence, *apps_of)


def app_up(app):
    return house(0, 0, app | (app + 1) % 4 << 2)


MEMBER = lives(0, MALLORY)
# App 0 is here, app 1 is mallory's.
THERE = app_up(0) + MEMBER + syncs(0, MALLORY, 1)
SET_UP = THERE + says(0, ROUTE, 0, 1, 0)
PEERS = {
    "member": MEMBER, "two": lives(0, MALLORY) + lives(1, BETA),
    "kinds": b"".join(comes(at, who, GOSSIP, ROUTE) for at, who in enumerate(
        (BETA, LATE, SHORT, FORGED, STRANGER, SELF))),
    "forged": MEMBER + b"".join(says(0, GOSSIP, 0, *event(5, BETA, how, 4))
                                for how in (0, 2, 4, 6)),
    "descriptors": MEMBER + b"".join(says(0, GOSSIP, 0, *event(k % 6, who))
                                     for k, who in enumerate(range(7), 1)),
    "leave": lives(0, BETA) + says(0, GOSSIP, 0, *event(2, BETA, 0x81)) + says(
        0, GOSSIP, 0, *event(2, BETA, 1, 9)),
    "hearsay": lives(0, MALLORY) + lives(1, BETA) + b"".join(
        says(0, GOSSIP, 0, *event(k, BETA | MALLORY << 3, 1, 3)) + house(3, 8)
        for k in (4, 3, 4)) + house(3, 200),
    "accused": MEMBER + says(0, GOSSIP, 0, *event(4, SELF, 3, 10)) + says(
        0, GOSSIP, 0, *event(3, SELF, 3, 255)) + says(
            0, GOSSIP, 0, *event(2, SELF, 0x81, 11)),
    "probes": MEMBER + house(3, 8) + b"".join(says(
        0, GOSSIP, 2, kind | who << 2, 0) for kind in range(4)
        for who in (SELF, BETA, MALLORY)) + says(
            0, GOSSIP, 2, 0, 2, *event(5, BETA), *event(4, LATE)),
    "pushpull": MEMBER + says(0, GOSSIP, 3, 0x42, 3, 4, *event(5, BETA),
                              *event(5, LATE)) + says(
        0, GOSSIP, 3, 0xc1, 9, 9, *event(3, BETA, 1, 4)),
    "sync": THERE + syncs(0, MALLORY, 1, 2, 3) + syncs(
        0, MALLORY, 0x21, full=0, sequence=2) + syncs(
        0, MALLORY, 1, full=0, sequence=9) + house(0, 2, 4 | 1) + house(
        0, 4, 4 | 1) + house(0, 4, 8 | 3) + house(2, 200),
    "claims": app_up(1) + house(0, 2, 4) + MEMBER + syncs(
        0, MALLORY, 0x80, 0x85, 0x41) + syncs(0x80 | 0, MALLORY, 1) + syncs(
        0, BETA, 1, sequence=3),
    "unattested": MEMBER + house(0, 2, 9) + syncs(0, MALLORY, 0x41) + house(
        3, 9),
    "moved": app_up(1) + MEMBER + house(3, 8) + syncs(0, MALLORY, 1) + house(
        3, 20),
    "expires": app_up(0) + comes(0, SHORT, GOSSIP, ROUTE) + says(
        0, GOSSIP, 0, *event(5, SHORT)) + house(3, 250) + says(0, GOSSIP, 6),
    "revoked": THERE + says(0, GOSSIP, 5, MALLORY) + says(
        0, GOSSIP, 5, 0x80 | MALLORY) + comes(1, MALLORY, GOSSIP),
    "revoked-by-us": SET_UP + house(1, 5, MALLORY << 4 | 1) + lives(1, BETA),
    "revoked-self": MEMBER + says(0, GOSSIP, 5, 0x80) + comes(1, BETA, GOSSIP),
    "heartbeat": MEMBER + says(0, GOSSIP, 6 | MALLORY << 3) + says(
        0, GOSSIP, 6 | BETA << 3),
    "setup": SET_UP + house(1, 0, MALLORY << 4 | 4) + house(
        1, 0x11, MALLORY << 4 | 4),
    "called": THERE + house(1, 0, MALLORY << 4 | 4) + says(
        0, ROUTE, 0, 1, 0x20),
    "chat": SET_UP + b"".join(says(0, ROUTE, 8 * k | k, 1)
                              for k in range(2, 7)) + house(
        0, 5, 4) + house(0, 6, 4) + house(1, 1, 4) + house(2, 9) + house(
        1, 3, MALLORY << 4 | 4) + house(1, 2, MALLORY << 4 | 4),
    "overtaken": app_up(0) + MEMBER + says(0, ROUTE, 0, 1, 0) + syncs(
        0, MALLORY, 1) + house(3, 8),
    "late": app_up(0) + MEMBER + says(0, ROUTE, 0, 1, 0) + house(3, 8),
    "stranger-chat": SET_UP + lives(1, BETA) + b"".join(
        says(1, ROUTE, 8 | k, 1) for k in range(2, 7)) + says(
            1, ROUTE, 0, 1, 0) + says(1, ROUTE, 0, 1, 1 | MALLORY << 1),
    "bad-setup": THERE + says(0, ROUTE, 0, 1, 0x80) + says(
        0, ROUTE, 0, 6, 0) + says(0, ROUTE, 7, 0, 5, 0x4a, 1, 65, 0x1a, 9),
    "local": app_up(0) + app_up(1) + house(1, 0, 4) + house(1, 0, 1) + house(
        1, 1, 4) + house(0, 5, 4) + house(0, 6, 4) + house(1, 3, 4) + house(
        1, 2, 4),
    "streams": SET_UP + comes(1, MALLORY, ROUTE, GOSSIP) + line(
        0, 0x20, 1) + line(1, 0x21, 1) + line(1, 0, 2) + house(3, 20),
    "dial": house(1, 4, BETA << 4 | 1) + line(0, BETA) + says(
        0, GOSSIP, 0, *event(5, BETA)) + house(1, 0, BETA << 4 | 4) + house(
        2, 20) + says(0, ROUTE, 2, 1) + line(0, 0, 3) + line(
        0, 0x21, 1) + house(3, 9),
    "dial-other": house(1, 4, BETA << 4 | 1) + line(0, MALLORY) + house(
        3, 9) + line(0, 0x80) + house(3, 9) + line(0, FORGED),
    "both": lives(0, MALLORY) + house(1, 4, MALLORY << 4 | 1) + line(
        1, MALLORY) + app_up(0) + syncs(0, MALLORY, 1) + house(
        1, 0, MALLORY << 4 | 4) + house(3, 9) + comes(0, MALLORY, ROUTE),
    "join": comes(0, STRANGER, JOIN) + says(0, JOIN, 1, 0x19),
    "renew": comes(0, BETA, JOIN) + says(0, JOIN, 1, 1),
    "admit": comes(0, LATE, JOIN) + says(0, JOIN, 1, 1) + comes(
        1, FORGED, JOIN) + says(1, JOIN, 1, 1) + comes(
        2, STRANGER, JOIN) + says(2, JOIN, 1, 0x89) + comes(
        3, STRANGER, JOIN) + says(3, JOIN, 1, 0x39) + comes(
        4, STRANGER, JOIN) + says(4, JOIN, 1, 0x18) + comes(
        5, LATE, JOIN) + says(5, JOIN, 0, 3, 1, 2, 3),
    "join-taken": house(5, 0x20) + comes(0, STRANGER, JOIN) + says(
        0, JOIN, 1, 9) + house(5, 0x50) + comes(1, LATE, JOIN) + says(
        1, JOIN, 1, 9),
    "shown": SET_UP + b"".join(house(4, k) for k in (
        2, 16, 20, 24, 32, 1)),
    "router-restarts": SET_UP + house(5, 4) + syncs(
        0, MALLORY, 2, sequence=2) + house(5, 0) + app_up(0),
    "congested": SET_UP + house(5, 2) + says(0, ROUTE, 2, 1) + house(5, 0),
    "refused": house(5, 1) + app_up(0) + house(3, 9) + house(5, 0) + house(
        3, 9),
    "refused-long": house(5, 1 | 0x80) + house(3, 60) + house(5, 0) + house(
        3, 60) + MEMBER,
    "shutdown": SET_UP + lives(1, BETA) + house(5, 8) + house(3, 40),
    "quiet": THERE + house(0, 2, 4 | 1) + house(0, 3, 4 | 1) + house(
        0, 1, 4) + house(3, 20) + house(5, 0x80),
    "raw": MEMBER + says(0, GOSSIP, 7, 4, 0x12, 2, 8, 5) + says(
        0, GOSSIP, 7, 2, 255, 255) + says(0, GOSSIP, 7, 0),
}
for name, steps in PEERS.items():
    put("peers", name, b"\0" + steps)
    if name in ("member", "sync", "chat", "dial"):
        put("peers", name + "-known", b"\x0e" + steps)
put("peers", "renews", b"\x30" + lives(0, BETA) + house(3, 250) + line(
    1, BETA) + says(1, JOIN, 1, 0) + house(3, 9))
put("peers", "referred", b"\x10" + lives(0, BETA) + comes(
    1, STRANGER, JOIN) + says(1, JOIN, 1, 9) + comes(2, LATE, JOIN) + says(
        2, JOIN, 1, 1))
OUTSIDE = house(4, BETA << 2 | 3) + line(0, BETA)
for how in (0, 1, 2, 4, 8, 0x10, 0x80, 0x20):
    put("peers", "response%02x" % how, b"\1" + OUTSIDE + says(
        0, JOIN, 1, how) + house(3, 9) + comes(1, MALLORY, GOSSIP))
put("peers", "response-raw", b"\1" + OUTSIDE + says(0, JOIN, 0, 2, 9, 9))
