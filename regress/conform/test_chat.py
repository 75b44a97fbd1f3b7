"""Chats, frame by frame, right and wrong, between apps of one node and of
two: every code word under its one condition, and the chat lives on."""

import contextlib
import hashlib
import os
import signal
import threading

import nacl.signing
import pytest
from nacl.public import PrivateKey

from hermes_node import Node, until
from hermes_wire import Identity, meet, pair, pb, start_chat_bytes

NAMES = iter(f"chat-{i}" for i in range(1, 10**6))


@pytest.fixture
def chat(places, request):
    """Two apps with a ready chat: (session, session, chat id)."""
    name = next(NAMES)
    a, b, _, _ = pair(*places, name)
    yield a, b, name
    a.close()
    b.close()


@pytest.fixture
def apps(places, sessions):
    """Two connected apps without a chat."""
    a, b = (sessions(place) for place in places)
    a.connect()
    b.connect()
    meet(a, b)
    return a, b, next(NAMES)


def flows(a, b, name, first=1):
    """The chat works both ways, from sequence first."""
    a.message(name, first, b"there")
    assert b.received(name) == (first, b"there")
    a.acked(name, first)


def public_key():
    return bytes(PrivateKey.generate().public_key)


# --- start ------------------------------------------------------------------

def test_start_chat_vector():
    sender, receiver = Identity("mockapp-sender"), Identity(
        "mockapp-receiver")
    assert sender.id == ("274d94e1e82c4d4803beae1e5da8f1549e43a3564fb00ea1"
                         "fec3ed11fa41fb25")
    assert receiver.id == ("1a070f07ee938ec8865cb5e38da1ce515511d4ff4059b6"
                           "ba5cc5030d06f42272")
    key = bytes(PrivateKey(b"\x11" * 32).public_key)
    assert key.hex() == ("7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f0"
                         "7f74892cb0f73f13")
    signed = start_chat_bytes("integration-chat", sender.id, receiver.id,
                              key)
    assert len(signed) == 206
    assert hashlib.sha256(signed).hexdigest() == (
        "93b21d4b98e47e7205add94997321ff1b18d92234c5e96ba6bf079b390227f4b")


def test_start_chat_vector_is_accepted(places, sessions):
    a = sessions(places[0], Identity("mockapp-sender"))
    b = sessions(places[1], Identity("mockapp-receiver"))
    a.connect()
    b.connect()
    meet(a, b)
    key = bytes(PrivateKey(b"\x11" * 32).public_key)
    a.start("integration-chat", b.identity, key=key, version=1)
    offer = b.wait("start_chat")
    nacl.signing.VerifyKey(a.identity.public).verify(
        start_chat_bytes(offer.chat_id, offer.source_app_id,
                         offer.target_app_id,
                         offer.local_ephemeral_public_key,
                         offer.key_version), offer.signature)
    b.start("integration-chat", a.identity)
    assert a.wait_ready("integration-chat").key_version == 1
    a.delete("integration-chat")
    a.deleted("integration-chat")
    b.deleted("integration-chat")


def test_both_orders(places, sessions):
    a, b = (sessions(place) for place in places)
    a.connect()
    b.connect()
    meet(a, b)
    for first, second in ((a, b), (b, a)):
        name = next(NAMES)
        first.start(name, second.identity, correlation="one")
        offer = second.wait("start_chat", lambda s: s.chat_id == name)
        assert offer.source_app_id == first.identity.id
        second.start(name, first.identity, correlation="two")
        for s in (first, second):
            ack = s.wait_ready(name)
            assert (ack.key_version, ack.resumed) == (1, False)
            assert (ack.next_send_sequence, ack.next_receive_sequence) == (
                1, 1)
        flows(first, second, name)
        flows(second, first, name)


def test_both_at_once(apps):
    a, b, name = apps
    a.start(name, b.identity)
    b.start(name, a.identity)
    assert a.wait_ready(name).key_version == 1
    assert b.wait_ready(name).key_version == 1
    flows(a, b, name)


def test_accept_auto(places, sessions):
    a, b = (sessions(place) for place in places)
    a.connect()
    b.connect(auto=True)
    meet(a, b)
    name = next(NAMES)
    a.start(name, b.identity, metadata={"topic": "x"})
    a.wait_ready(name)
    offer = b.wait("start_chat")
    assert (offer.source_app_id, dict(offer.metadata)) == (
        a.identity.id, {"topic": "x"})
    flows(a, b, name)
    flows(b, a, name)


def rekeys(node):
    """What the node's keyd applied, and what it was offered again."""
    return [node.metric('hermes_rekeys_total{result="%s"' % result, "keyd")
            for result in ("applied", "resume")]


def test_what_accept_auto_said_costs_nothing_to_say_again(frail, sessions):
    """As libhermes does; the two keyds have one offer each to verify."""
    a, b = (sessions(node.app) for node in frail.nodes)
    a.connect()
    b.connect(auto=True)
    meet(a, b)
    # What waits for the tieline is offered again when that is up.
    a.start("before", b.identity)
    a.wait_ready("before")
    flows(a, b, "before")
    before = [rekeys(node) for node in frail.nodes]
    names = [next(NAMES) for _ in range(20)]
    for name in names:
        a.start(name, b.identity)
    for name in names:
        b.wait("start_chat", lambda s, name=name: s.chat_id == name)
        b.start(name, a.identity, resume=True)
    for name in names:
        assert b.wait_ready(name).key_version == 1
        assert a.wait_ready(name).key_version == 1
        flows(a, b, name)
        flows(b, a, name)
    assert [rekeys(node) for node in frail.nodes] == before


def test_everything_of_an_offer_is_relayed(apps):
    a, b, name = apps
    key = public_key()
    a.start(name, b.identity, key=key, metadata={"k": "v"},
            hkdf_salt=b"salt", hkdf_info=b"info")
    offer = b.wait("start_chat")
    assert offer.local_ephemeral_public_key == key
    assert (offer.hkdf_salt, offer.hkdf_info) == (b"salt", b"info")
    assert dict(offer.metadata) == {"k": "v"}
    assert offer.target_app_id == b.identity.id


def test_correlation_of_start_and_its_errors(apps):
    a, b, name = apps
    a.start(name, b.identity, correlation="start")
    b.start(name, a.identity)
    a.wait_ready(name)
    assert a.last_correlation == "start"
    a.start(name, "00" * 32, key=b"short", correlation="bad")
    a.wait("error")
    assert a.last_correlation == "bad"


def test_restart_of_a_ready_chat_is_harmless(chat):
    a, b, name = chat
    flows(a, b, name)
    a.start(name, b.identity)
    ack = a.wait_ready(name)
    assert (ack.next_send_sequence, ack.next_receive_sequence) == (2, 1)
    flows(a, b, name, 2)


@pytest.mark.parametrize("fields", [
    {"chat_id": ""}, {"chat_id": "x" * 129}, {"chat_id": "a\nb"},
    {"chat_id": "a\x00b"}, {"peer": ""}, {"peer": "zz" * 32},
    {"peer": "AB" * 32}, {"peer": "ab" * 31}, {"peer": "self"},
    {"target_node_hint": "No Name"}, {"signature": b"s" * 64},
    {"source_app_id": "ab" * 32}],
    ids=lambda f: "-".join(f"{k}-{str(v)[:8]!r}" for k, v in f.items()))
def test_invalid_start(apps, fields):
    a, b, name = apps
    fields = dict(fields)
    peer = fields.pop("peer", b.identity.id)
    if peer == "self":
        peer = a.identity.id
    a.start(fields.pop("chat_id", name), peer, correlation="x", **fields)
    a.error("INVALID_FRAME")
    assert a.last_correlation == "x"
    a.ping()


@pytest.mark.parametrize("key", [b"k" * 31, b"k" * 33, bytes(32),
                                 b"\x01" + bytes(31)],
                         ids=["short", "long", "zero", "one"])
def test_invalid_key(apps, key):
    a, b, name = apps
    a.start(name, b.identity, key=key)
    a.error("INVALID_KEY")
    a.ping()


@pytest.mark.parametrize("signature", [bytes(64), b"", b"s" * 63],
                         ids=["zero", "none", "short"])
def test_auth_failed(apps, signature):
    a, b, name = apps
    a.start(name, b.identity, key=public_key(), signature=signature)
    a.error("AUTH_FAILED")
    assert b.none("start_chat")


def test_L05_signature_binds_chat_peer_version_and_rekey(apps):
    a, b, name = apps
    key = public_key()
    for args in (("other", a.identity.id, b.identity.id, key),
                 (name, b.identity.id, a.identity.id, key),
                 (name, a.identity.id, b.identity.id, public_key()),
                 (name, a.identity.id, b.identity.id, key, 2),
                 (name, a.identity.id, b.identity.id, key, 1, True)):
        a.start(name, b.identity, key=key,
                signature=a.identity.sign(start_chat_bytes(*args)))
        a.error("AUTH_FAILED")


def test_metadata_too_large(apps):
    a, b, name = apps
    a.start(name, b.identity, metadata={"k": "v" * 5000})
    a.error("LIMIT_REACHED")
    assert b.none("start_chat")


def test_unknown_app(apps):
    a, _, name = apps
    a.start(name, Identity(), correlation="who")
    a.error("UNKNOWN_APP")
    assert a.last_correlation == "who"


def test_target_not_found(apps):
    a, b, name = apps
    a.start(name, b.identity, target_node_hint="elsewhere")
    a.error("TARGET_NOT_FOUND")
    a.start(name, b.identity, target_node_hint=b.ack.node_id)
    b.wait("start_chat")


def test_first_version(apps):
    a, b, name = apps
    a.start(name, b.identity, version=2)
    a.error("INVALID_FRAME")
    a.start(name, b.identity, version=2**32 - 1)
    a.error("INVALID_FRAME")
    a.start(name, b.identity, version=1)
    b.start(name, a.identity, version=1)
    assert a.wait_ready(name).key_version == 1


def test_resume_of_a_chat_that_never_was_begins_it(apps):
    a, b, name = apps
    a.start(name, b.identity, resume=True)
    b.wait("start_chat")
    b.start(name, a.identity, resume=True)
    assert not a.wait_ready(name).resumed
    flows(a, b, name)


# --- messages ---------------------------------------------------------------

def test_in_order_and_acknowledged(chat):
    a, b, name = chat
    for i in range(1, 101):
        a.message(name, i, b"%d" % i)
    assert [b.received(name) for _ in range(100)] == [
        (i, b"%d" % i) for i in range(1, 101)]
    for i in range(1, 101):
        a.acked(name, i)


def test_correlation_of_an_acknowledgement(chat):
    a, b, name = chat
    a.send(pb.ChatMessage(chat_id=name, sequence=1, payload=b"x"),
           correlation="m1")
    a.acked(name, 1)
    assert a.last_correlation == "m1"


def test_empty_and_binary_payload(chat):
    a, b, name = chat
    blob = bytes(range(256))
    a.message(name, 1, b"")
    a.message(name, 2, blob)
    assert b.received(name) == (1, b"")
    assert b.received(name) == (2, blob)


def test_peer_app_id_is_in_what_comes(chat):
    a, b, name = chat
    a.message(name, 1, b"x")
    assert b.wait("chat_message").peer_app_id == a.identity.id
    assert a.wait("chat_message_ack").peer_app_id == b.identity.id


def test_L40_again_is_acknowledged_and_not_delivered(chat):
    a, b, name = chat
    flows(a, b, name, 1)
    a.message(name, 1, b"there")
    a.acked(name, 1)
    a.message(name, 2, b"next")
    assert b.received(name) == (2, b"next")
    assert b.none("chat_message")


@pytest.mark.parametrize("sequence", [0, 3, 2**63, 2**64 - 1])
def test_out_of_sequence(chat, sequence):
    a, b, name = chat
    flows(a, b, name, 1)
    a.message(name, sequence, b"jump")
    error = a.error("OUT_OF_SEQUENCE")
    assert (error.chat_id, error.expected_sequence) == (name, 2)
    assert error.peer_app_id == b.identity.id
    flows(a, b, name, 2)


def test_message_to_no_chat(apps):
    a, b, name = apps
    a.message(name, 1, b"x")
    assert a.error("CHAT_NOT_FOUND").chat_id == name
    a.message(name, 1, b"x", peer=b.identity.id)
    a.error("CHAT_NOT_FOUND")


def test_message_before_the_peer_accepts(apps):
    a, b, name = apps
    a.start(name, b.identity)
    b.wait("start_chat")
    a.message(name, 1, b"early")
    assert a.error("CHAT_NOT_READY").chat_id == name
    b.start(name, a.identity)
    a.wait_ready(name)
    flows(a, b, name, 1)


def test_offer_not_taken_cannot_be_written_to(apps):
    a, b, name = apps
    a.start(name, b.identity)
    b.wait("start_chat")
    b.message(name, 1, b"early")
    b.error("CHAT_NOT_READY")
    assert a.none("chat_message")


def test_ambiguous_chat(places, sessions):
    a = sessions(places[0])
    peers = [sessions(place) for place in (places[1], places[1])]
    name = next(NAMES)
    for s in (a, *peers):
        s.connect()
    meet(a, *peers)
    for peer in peers:
        a.start(name, peer.identity)
        peer.start(name, a.identity)
        a.wait_ready(name)
        peer.wait_ready(name)
    a.message(name, 1, b"whom?")
    a.error("AMBIGUOUS_CHAT")
    a.delete(name)
    a.error("AMBIGUOUS_CHAT")
    for i, peer in enumerate(peers):
        a.message(name, 1, b"%d" % i, peer=peer.identity.id)
        assert peer.received(name) == (1, b"%d" % i)
        a.acked(name, 1)


def test_L25_message_at_the_limit(chat):
    """A message exactly at the limit passes both hops; one byte more is
    told at the first, and hurts nothing."""
    a, b, name = chat
    limit = a.ack.max_message_size
    most = os.urandom(limit)
    a.message(name, 1, most)
    assert b.received(name) == (1, most)
    a.acked(name, 1)
    a.message(name, 2, most + b"x")
    error = a.error("MESSAGE_TOO_LARGE")
    assert error.chat_id == name
    flows(a, b, name, 2)


def test_far_too_large_frame_ends_only_that_stream(node, sessions):
    s, other = sessions(node.app), sessions(node.app)
    s.connect()
    other.connect()
    s.message("none", 1, bytes(8 << 20))
    try:
        s.wait("error")
    except Exception:
        s.wait_closed()
    other.ping()


# --- other frames -----------------------------------------------------------

def test_unknown_body_is_unsupported(apps):
    a, _, _ = apps
    unknown = bytes([0x0a, 1, ord("c")]) + bytes([0x8a, 0x01, 0])
    a.send_raw(unknown)  # field 17, empty
    a.error("UNSUPPORTED")
    assert a.last_correlation == "c"
    a.ping()


def test_unknown_fields_are_ignored(chat):
    a, b, name = chat
    extra = bytes([0xfa, 0x06, 3]) + b"abc" + bytes([0xf0, 0x06, 7])
    body = pb.ChatMessage(chat_id=name, sequence=1,
                          payload=b"x").SerializeToString() + extra
    a.send_raw(bytes([0x32, len(body)]) + body + extra)
    assert b.received(name) == (1, b"x")


def test_what_is_wrong_is_said(apps):
    """INVALID_FRAME names the field, for who writes an app."""
    a, b, name = apps

    def wrong(word, chat_id=name, peer=b.identity.id, expected=0, **fields):
        a.start(chat_id, peer, **fields)
        error = a.error("INVALID_FRAME")
        assert error.message.startswith(word), error.message
        assert error.expected_sequence == expected
    wrong("chat_id is not 1 to 128 bytes", chat_id="")
    wrong("target_app_id is not the id of an app", peer="AB" * 32)
    wrong("target_app_id is the app's own", peer=a.identity.id)
    wrong("target_node_hint is not a node id", target_node_hint="No Name")
    wrong("source_app_id is not the app's own", source_app_id="ab" * 32)
    wrong("a signature without", signature=b"s" * 64)
    wrong("instance is not 16 bytes", instance=bytes(15))
    wrong("key_version is above the next one", version=2, expected=1)
    a.send(pb.FindApp(target_app_id="x"))
    assert a.error("INVALID_FRAME").message.startswith("target_app_id is not")


@pytest.mark.parametrize("raw", [
    b"", b"\xff", b"\x32\x05abc", b"\x32\x03\x0a\x05x", b"\x0a\xff",
    b"\x32\x04\x0a\x02\xff\xfe", b"\x07"],
    ids=["empty", "tag", "cut", "inner-cut", "correlation", "not-utf8",
         "group"])
def test_garbage_frames(chat, raw):
    a, b, name = chat
    a.send_raw(raw)
    assert a.wait("error").code in ("INVALID_FRAME", "UNSUPPORTED")
    flows(a, b, name)


def test_garbage_without_end_ends_the_stream(node, sessions):
    s, other = sessions(node.app), sessions(node.app)
    s.connect()
    other.connect()
    for _ in range(200):
        s.send_raw(b"\xff\xff")
    assert s.wait_closed().name == "INVALID_ARGUMENT"
    other.ping()


@pytest.mark.parametrize("body", [
    pb.ConnectAck(), pb.Challenge(), pb.DeleteChatAck(chat_id="x"),
    pb.Error(code="AUTH_FAILED"), pb.FindAppResult(), pb.ChatStatus(),
    pb.GoAway()], ids=lambda b: type(b).__name__)
def test_frames_that_only_nodes_send(apps, body):
    a, _, _ = apps
    a.send(body)
    assert a.error("INVALID_FRAME").message == "a frame that only nodes send"
    a.ping()


def test_acknowledgements_of_apps_are_let_pass(chat):
    a, b, name = chat
    flows(a, b, name)
    b.send(pb.ChatMessageAck(chat_id=name, sequence=1))
    b.send(pb.StartChatAck(chat_id=name))
    b.ping()
    assert b.none("error")


@pytest.mark.parametrize("target", ["", "zz" * 32, "ab"])
def test_find_of_no_app(apps, target):
    a, _, _ = apps
    a.send(pb.FindApp(target_app_id=target), correlation="f")
    a.error("INVALID_FRAME")


def test_find(mesh, sessions):
    a, b, c = sessions(mesh[0].app), sessions(mesh[1].app), sessions(
        mesh[0].app)
    for s in (a, b, c):
        s.connect()
    meet(a, b, c)
    assert a.find(a.identity) == ("local", "alpha")
    assert a.find(c.identity) == ("local", "alpha")
    assert a.find(b.identity) == ("found", "beta")
    assert b.find(a.identity) == ("found", "alpha")


def test_L37_unknown_is_unknown(apps):
    a, _, _ = apps
    assert a.find(Identity()) == ("unknown", "")


def test_L36_departures_and_moves_travel(mesh, sessions):
    watcher = sessions(mesh[0].app)
    watcher.connect()
    identity = Identity()
    app = sessions(mesh[1].app, identity)
    app.connect()
    meet(watcher, app)
    assert watcher.find(identity) == ("found", "beta")
    app.close()
    until("departure known", lambda: watcher.find(identity)[0] == "unknown")
    moved = sessions(mesh[0].app, identity)
    moved.connect()
    other = sessions(mesh[1].app)
    other.connect()
    until("move known", lambda: other.find(identity) == ("found", "alpha"))


# --- delete -----------------------------------------------------------------

def test_delete(chat, request):
    a, b, name = chat
    flows(a, b, name)
    a.delete(name, correlation="bye", reason="done")
    assert a.deleted(name) == "deleted"
    assert a.last_correlation == "bye"
    assert b.deleted(name) == "deleted_by_peer"
    for s in (a, b):
        s.message(name, 2, b"late")
        s.error("CHAT_NOT_FOUND")
        s.delete(name)
        s.error("CHAT_NOT_FOUND")


def test_delete_erases_the_ratchets(mesh, sessions):
    name = next(NAMES)
    a, b, _, _ = pair(mesh[0].app, mesh[1].app, name)

    def ratchets():
        return [row for n in mesh.nodes for row in n.show("ratchets")
                if row["chat_id"] == name]
    assert len(ratchets()) == 2
    a.delete(name)
    a.deleted(name)
    b.deleted(name)
    assert ratchets() == []
    a.close()
    b.close()


def test_delete_of_no_chat(apps):
    a, _, name = apps
    a.delete(name)
    assert a.error("CHAT_NOT_FOUND").chat_id == name


def test_declined_offer(apps):
    a, b, name = apps
    a.start(name, b.identity)
    b.wait("start_chat")
    b.delete(name)
    assert b.deleted(name) == "deleted"
    assert a.deleted(name) == "deleted_by_peer"


def test_deleted_while_the_peer_is_away(homes, places, sessions):
    name = next(NAMES)
    a, b, _, _ = pair(*places, name)
    flows(a, b, name)
    b.close()
    a.wait("chat_status", lambda s: s.status == "peer_away")
    a.delete(name)
    assert a.deleted(name) == "deleted"
    until("its node has heard of it", lambda: not any(
        row["chat_id"] == name for row in homes[1].show("ratchets")))
    again = sessions(places[1], b.identity)
    again.connect()
    again.start(name, a.identity, resume=True, version=1)
    again.error("REPLAYED_KEY")
    a.close()


def test_L07_old_versions_of_a_deleted_chat_stay_refused(chat):
    a, b, name = chat
    a.start(name, b.identity, rekey=True)
    assert a.wait_ready(name).key_version == 2
    a.delete(name)
    a.deleted(name)
    b.deleted(name)
    for version in (1, 2):
        a.start(name, b.identity, version=version)
        a.error("REPLAYED_KEY")
    a.start(name, b.identity)
    b.wait("start_chat", lambda s: not s.rekey)
    b.start(name, a.identity)
    assert a.wait_ready(name).key_version == 3
    flows(a, b, name, 1)  # a new chat: sequences begin anew


# --- strangers --------------------------------------------------------------

def test_L14_a_stranger_cannot_delete(chat, places, sessions):
    a, b, name = chat
    stranger = sessions(places[0])
    stranger.connect()
    for peer in ("", a.identity.id, b.identity.id):
        stranger.delete(name, peer=peer)
        stranger.error("CHAT_NOT_FOUND")
    flows(a, b, name)


def test_L15_a_stranger_s_chat_is_another(chat, places, sessions):
    a, b, name = chat
    flows(a, b, name)
    stranger = sessions(places[1])
    stranger.connect()
    meet(stranger, a, b)
    stranger.start(name, a.identity)
    a.wait("start_chat", lambda s: s.source_app_id == stranger.identity.id)
    flows(a, b, name, 2)  # not ambiguous: the offer was not taken
    stranger.delete(name)
    stranger.deleted(name)
    stranger.start(name, b.identity)
    stranger.close()
    flows(a, b, name, 3)
    flows(b, a, name, 1)


# --- rekey ------------------------------------------------------------------

def test_rekey(chat):
    a, b, name = chat
    a.start(name, b.identity, rekey=True, correlation="new")
    ack = a.wait_ready(name)
    assert ack.key_version == 2 and a.last_correlation == "new"
    status = b.wait("chat_status", lambda s: s.status == "rekeyed")
    assert (status.chat_id, status.key_version) == (name, 2)
    flows(a, b, name, 1)
    flows(b, a, name, 1)


@contextlib.contextmanager
def standing_still(pids):
    """Processes that do nothing meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_L09_rekey_from_both_sides_at_once(chat, homes):
    a, b, name = chat
    with standing_still({node.pids()["keyd"] for node in homes}):
        a.start(name, b.identity, rekey=True, version=2)
        b.start(name, a.identity, rekey=True, version=2)
        for s in (a, b):
            s.ping()  # its router has passed that on
    assert a.wait_ready(name).key_version == 2
    assert b.wait_ready(name).key_version == 2
    flows(a, b, name, 1)
    flows(b, a, name, 1)


@pytest.mark.parametrize("version,code", [
    (1, "REPLAYED_KEY"), (3, "INVALID_FRAME"),
    (2**32 - 1, "INVALID_FRAME")])
def test_L10_rekey_goes_up_by_one(chat, version, code):
    a, b, name = chat
    a.start(name, b.identity, rekey=True, version=version)
    a.error(code)
    flows(a, b, name, 1)
    a.start(name, b.identity, rekey=True, version=2)
    assert a.wait_ready(name).key_version == 2


def test_rekey_is_throttled(chat):
    a, b, name = chat
    for version in (2, 3, 4):
        a.start(name, b.identity, rekey=True)
        assert a.wait_ready(name).key_version == version
    a.start(name, b.identity, rekey=True, correlation="fourth")
    error = a.error("REKEY_THROTTLED")
    assert a.last_correlation == "fourth"
    assert 0 < error.retry_after_nanos <= 30 * 10**9
    flows(a, b, name, 1)


def test_key_mismatch(apps):
    a, b, name = apps
    key = public_key()
    a.start(name, b.identity, key=key, version=1)
    b.start(name, a.identity)
    a.wait_ready(name)
    a.start(name, b.identity, key=public_key(), version=1, resume=True)
    a.error("KEY_MISMATCH")
    a.start(name, b.identity, key=key, version=1, resume=True)
    a.wait_ready(name)
    flows(a, b, name, 1)


def test_same_key_material_again(apps):
    a, b, name = apps
    key = public_key()
    a.start(name, b.identity, key=key, version=1)
    b.start(name, a.identity)
    a.wait_ready(name)
    a.start(name, b.identity, key=key, version=2, rekey=True)
    a.error("REPLAYED_KEY")
    flows(a, b, name, 1)


def test_rekey_of_no_chat_begins_one(apps):
    a, b, name = apps
    a.start(name, b.identity, rekey=True)
    b.wait("start_chat")
    b.start(name, a.identity)
    assert a.wait_ready(name).key_version == 1
    flows(a, b, name)


def test_L08_rekey_under_load_loses_nothing(chat):
    a, b, name = chat
    total = 2000

    def send(s):
        for i in range(1, total + 1):
            s.message(name, i, b"%d" % i)
    threads = [threading.Thread(target=send, args=(s,)) for s in (a, b)]
    for thread in threads:
        thread.start()
    for version in (2, 3, 4):
        a.start(name, b.identity, rekey=True)
        a.wait("start_chat_ack", lambda k: k.key_version == version)
    for s in (a, b):
        for i in range(1, total + 1):
            assert s.received(name) == (i, b"%d" % i)
        s.acked(name, total)
        assert s.none("error")
    for thread in threads:
        thread.join()


# --- away and back ----------------------------------------------------------

def test_away_back_and_resume(places, sessions):
    name = next(NAMES)
    a, b, _, _ = pair(*places, name)
    flows(a, b, name, 1)
    flows(b, a, name, 1)
    b.close()
    a.wait("chat_status", lambda s: s.status == "peer_away")
    a.message(name, 2, b"for later")
    again = sessions(places[1], b.identity)
    again.connect()
    again.start(name, a.identity, resume=True, version=1)
    ack = again.wait_ready(name)
    assert ack.resumed
    assert (ack.next_send_sequence, ack.next_receive_sequence) == (2, 2)
    a.wait("chat_status", lambda s: s.status == "peer_back")
    assert again.received(name) == (2, b"for later")
    a.acked(name, 2)
    flows(again, a, name, 2)
    a.close()


def test_one_ack_for_many_where_the_app_takes_it(places, sessions):
    """Of messages that were on their way together; but what bears a
    correlation_id is answered under it."""
    name = next(NAMES)
    a, b = (sessions(place) for place in places)
    a.connect({"acks": "last"})
    b.connect(auto=True)
    meet(a, b)
    a.start(name, b.identity)
    a.wait_ready(name)
    for i in range(1, 11):
        a.send(pb.ChatMessage(chat_id=name, sequence=i, payload=b"x"),
               correlation=f"id-{i}")
    for i in range(1, 11):
        a.acked(name, i)
        assert a.last_correlation == f"id-{i}"
    b.close()
    a.wait("chat_status", lambda s: s.status == "peer_away")
    for i in range(11, 61):
        a.message(name, i, b"for later")
    a.ping()
    again = sessions(places[1], b.identity)
    again.connect(auto=True)
    again.start(name, a.identity, resume=True, version=1)
    for i in range(11, 61):
        assert again.received(name) == (i, b"for later")
    told = []
    while not told or told[-1] < 60:
        told.append(a.wait("chat_message_ack").sequence)
    assert told == sorted(told) and len(told) < 50, told


def test_both_away_and_back_in_both_orders(places, sessions):
    for order in ((0, 1), (1, 0)):
        name = next(NAMES)
        apps = list(pair(*places, name)[:2])
        flows(*apps, name, 1)
        for s in apps:
            s.close()
        for i in order:
            apps[i] = sessions(places[i], apps[i].identity)
            apps[i].connect()
        for i in order:
            apps[i].start(name, apps[1 - i].identity, resume=True)
        for i in order:
            assert apps[i].wait_ready(name).resumed
        flows(*apps, name, 2)


def test_L41_first_one_back_waits_for_the_other(places, sessions):
    """No error, however long the other takes."""
    name = next(NAMES)
    a, b, _, _ = pair(*places, name)
    flows(a, b, name, 1)
    a.close()
    b.close()
    first = sessions(places[0], a.identity)
    first.connect()
    first.start(name, b.identity, resume=True)
    first.ping()
    second = sessions(places[1], b.identity)
    second.connect()
    second.start(name, a.identity, resume=True)
    first.wait_ready(name)
    second.wait_ready(name)
    assert first.none("error")
    flows(first, second, name, 2)


def test_L42_clean_disconnect_keeps_the_chat(places, sessions):
    name = next(NAMES)
    a, b, _, _ = pair(*places, name)
    flows(a, b, name, 1)
    for s in (a, b):
        s.half_close()
        s.wait_closed()
    a2, b2 = (sessions(p, s.identity) for p, s in zip(places, (a, b)))
    for s, t in ((a2, b2), (b2, a2)):
        s.connect()
        s.start(name, t.identity, resume=True)
    assert a2.wait_ready(name).next_send_sequence == 2
    b2.wait_ready(name)
    flows(a2, b2, name, 2)
    a.close()
    b.close()


# --- load and limits --------------------------------------------------------

def test_L24_a_slow_peer_delays_only_its_own_chat(places, sessions):
    a, slow, quick = (sessions(p) for p in
                      (places[0], places[1], places[1]))
    for s in (a, slow, quick):
        s.connect()
    meet(a, slow, quick)
    names = next(NAMES), next(NAMES)
    for name, peer in zip(names, (slow, quick)):
        a.start(name, peer.identity)
        peer.start(name, a.identity)
        a.wait_ready(name)
        peer.wait_ready(name)
    slow.paused.clear()
    block = os.urandom(4096)
    for i in range(1, 301):
        a.message(names[0], i, block)
    for i in range(1, 51):
        a.message(names[1], i, b"%d" % i)
        assert quick.received(names[1]) == (i, b"%d" % i)
    slow.paused.set()
    for i in range(1, 301):
        assert slow.received(names[0]) == (i, block)
    a.acked(names[0], 300)


def test_backpressure_is_told_and_nothing_lost(places, sessions):
    """Far beyond the window, with the peer away: BACKPRESSURE, and what was
    taken arrives."""
    name = next(NAMES)
    a, b, _, _ = pair(*places, name)
    b.close()
    a.wait("chat_status", lambda s: s.status == "peer_away")
    for i in range(1, 2001):
        a.message(name, i, b"%d" % i)
    error = a.error("BACKPRESSURE")
    assert error.chat_id == name
    a.ping()
    again = sessions(places[1], b.identity)
    again.connect()
    again.start(name, a.identity, resume=True)
    again.wait_ready(name)
    taken = error.expected_sequence - 1
    assert taken > a.ack.chat_window
    for i in range(1, taken + 1):
        assert again.received(name) == (i, b"%d" % i)
        a.acked(name, i)
    flows(a, again, name, taken + 1)
    a.close()


@pytest.fixture(scope="module")
def tight():
    with Node("tight", extra="""
limits {
\tchats per app 3
\tmessages per second 20
\tmessage size 4K
}
""") as one:
        yield one


def test_chats_per_app(tight, sessions):
    a, b = sessions(tight.app), sessions(tight.app)
    a.connect()
    b.connect()
    for i in range(3):
        a.start(f"c{i}", b.identity)
        b.wait("start_chat")
    a.start("c3", b.identity, correlation="over")
    assert a.error("LIMIT_REACHED").chat_id == "c3"
    assert a.last_correlation == "over"
    a.delete("c0")
    a.deleted("c0")
    a.start("c3", b.identity)
    b.wait("start_chat", lambda s: s.chat_id == "c3")


def test_message_size_of_the_configuration(tight, sessions):
    a, b, _, _ = pair(tight.app, tight.app, "size")
    assert a.ack.max_message_size == 4096
    a.message("size", 1, bytes(4096))
    assert b.received("size") == (1, bytes(4096))
    a.message("size", 2, bytes(4097))
    a.error("MESSAGE_TOO_LARGE")
    a.close()
    b.close()


def test_rate_limit(tight, sessions):
    s = sessions(tight.app)
    s.connect()
    for i in range(400):
        s.send(pb.Heartbeat(timestamp_nanos=i + 1))
    error = s.error("RATE_LIMITED")
    assert error.retry_after_nanos > 0


def test_starts_per_minute(sessions):
    with Node("starts", extra="limits { starts per minute 6\n}\n") as one:
        s = sessions(one.app)
        s.connect()
        for i in range(30):
            s.start(f"c{i}", Identity())
        codes = {s.wait("error").code for _ in range(30)}
        assert codes == {"UNKNOWN_APP", "RATE_LIMITED"}
