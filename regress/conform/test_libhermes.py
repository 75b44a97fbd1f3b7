"""libhermes, through hermes(1), against a node that misbehaves as told."""

import os
import signal
import stat
import subprocess
import threading

import nacl.signing
import pytest

from fake_node import FakeNode
from hermes_cli import HERMES, Cli, hermes
from hermes_node import until
from hermes_wire import WAIT, Identity, connect_bytes, pb

PEER = Identity("peer").id


@pytest.fixture
def node():
    nodes = []

    def make(*scripts):
        nodes.append(FakeNode(*scripts))
        return nodes[-1]
    yield make
    for one in nodes:
        one.stop()


def send(node, *arguments):
    return Cli("send", node.address, "app", PEER, "--timeout", WAIT,
               *arguments)


def recv(node, *arguments):
    return Cli("recv", node.address, "app", PEER, "--timeout", WAIT,
               *arguments)


def take(stream, first, last):
    """Take messages first..last of the app, in order."""
    for sequence in range(first, last + 1):
        message = stream.receive("chat_message")
        assert message.sequence == sequence
        assert message.payload.startswith(str(sequence).encode())


# --- the greeting -----------------------------------------------------------

def test_connect_signature_and_metadata(node):
    def script(stream):
        stream.greet()
        c = stream.connect
        signed = connect_bytes(
            bytes(stream.node.identity.verify_key), c.nonce, c.node_id,
            c.issued_at, c.expires_at, dict(c.metadata))
        nacl.signing.VerifyKey(c.app_public_key).verify(signed, c.signature)
        stream.ready()
        take(stream, 1, 1)
        stream.ack(1)
        stream.drain()
        return dict(c.metadata), c.app_public_key.hex()
    fake = node(script)
    with send(fake, "--count", 1) as cli:
        cli.succeed()
    assert fake.result() == ({"acks": "last"}, Identity("app").id)


def test_accept_auto_is_declared(node):
    def script(stream):
        stream.greet()
        return dict(stream.connect.metadata)
    fake = node(script)
    with Cli("recv", fake.address, "app") as cli:
        assert cli.exit()[0] == 2
    assert fake.result() == {"accept": "auto", "acks": "last"}


def test_pinned_key_right_and_wrong(node):
    def script(stream):
        stream.greet()
        stream.ready()
        take(stream, 1, 1)
        stream.ack(1)
        stream.drain()
    fake = node(script)
    right = bytes(fake.identity.verify_key).hex()
    with send(fake, "--count", 1, "--pin", right) as cli:
        cli.succeed()
    with send(fake, "--count", 1, "--pin", "00" * 32) as cli:
        assert cli.exit()[0] == 2
        cli.wait_error("another key")


def test_forged_challenge_gets_no_connect(node):
    def script(stream):
        stream.greet(signer=nacl.signing.SigningKey.generate())
    fake = node(script)
    with send(fake, "--count", 1) as cli:
        assert cli.exit()[0] == 2
        cli.wait_error("does not prove")
    with pytest.raises(ConnectionError):
        fake.result()


def test_other_key_after_reconnect_is_refused(node):
    def first(stream):
        stream.greet()
        stream.ready()

    def second(stream):
        other = nacl.signing.SigningKey.generate()
        stream.greet(signer=other, key=bytes(other.verify_key))
    fake = node(first, second)
    with send(fake, "--count", 1, "--expect-restart") as cli:
        cli.wait_error("another key")


def test_ca_is_verified(node, tmp_path):
    def script(stream):
        stream.greet()
        stream.ready()
        take(stream, 1, 1)
        stream.ack(1)
        stream.drain()
    fake, other = node(script), node(script)
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    good.write_bytes(fake.certificate)
    bad.write_bytes(other.certificate)
    with send(fake, "--count", 1, "--ca", good) as cli:
        cli.succeed()
    with send(fake, "--count", 1, "--ca", bad) as cli:
        assert cli.exit()[0] == 2


# --- sending ----------------------------------------------------------------

def test_window_is_kept(node):
    def script(stream):
        stream.greet(window=4)
        stream.ready()
        take(stream, 1, 4)
        # A fifth message would come before the echo of this one.
        stream.send(chat_status=pb.ChatStatus(
            chat_id=stream.chat, peer_app_id=stream.peer, status="rekeyed",
            key_version=2))
        stream.ack(1)
        take(stream, 5, 5)
        stream.ack(5)
        take(stream, 6, 9)
        stream.ack(9)
        take(stream, 10, 10)
        stream.ack(10)
        stream.drain()
    fake = node(script)
    with send(fake, "--count", 10) as cli:
        assert cli.wait("REKEYED") == "REKEYED 2"
        done = cli.succeed()
        assert done["acked"] == 10 and done["resent"] == 0
    fake.result()


def test_every_chat_has_its_turn(node):
    """However much an app has to say in some of its chats."""
    def script(stream):
        stream.greet()
        for _ in range(8):
            stream.ready()
        heard = dict.fromkeys(range(8), 0)
        for _ in range(4000):
            message = stream.receive("chat_message")
            heard[int(message.chat_id.split("-")[1])] += 1
            stream.send(chat_message_ack=pb.ChatMessageAck(
                chat_id=message.chat_id, sequence=message.sequence,
                peer_app_id=message.peer_app_id))
        return heard
    fake = node(script)
    with Cli("bench", fake.address, "app", PEER, "--chat", "c", "--chats", 8,
             "--count", 4000, "--size", 4096, "--timeout", WAIT):
        heard = fake.result()
    assert min(heard.values()) > 100, heard


def test_out_of_sequence_goes_back_once(node):
    def script(stream):
        stream.greet(window=8)
        stream.ready()
        take(stream, 1, 8)
        for _ in range(6):  # as for 3..8 in flight after 2 was lost
            stream.error("OUT_OF_SEQUENCE", expected_sequence=2)
        take(stream, 2, 8)
        stream.ack(8)
        stream.drain()
    fake = node(script)
    with send(fake, "--count", 8) as cli:
        done = cli.succeed()
        assert done["acked"] == 8 and done["resent"] == 7
    fake.result()


def test_resume_sends_again_what_the_node_lacks(node):
    def first(stream):
        stream.greet()
        stream.ready()
        take(stream, 1, 10)
        stream.ack(2)

    def second(stream):
        stream.greet()
        start = stream.ready(resumed=True, next_send_sequence=6,
                             key_version=3)
        assert start.resume and start.key_version == 1
        take(stream, 5, 10)  # 5 only to hear of its acknowledgement
        stream.ack(10)
        stream.drain()
    fake = node(first, second)
    with send(fake, "--count", 10, "--expect-restart") as cli:
        assert "next_send=3" in cli.wait("RESUMED")
        done = cli.succeed()
        assert done["acked"] == 10 and done["resent"] == 6
        assert cli.sequences("ACKED") == list(range(1, 11))
    fake.result()
    fake.result()


def test_resume_names_the_chat_that_it_had(node):
    which = bytes(range(16))

    def first(stream):
        stream.greet()
        assert stream.ready(instance=which).instance == b""
        take(stream, 1, 2)
        stream.ack(1)

    def second(stream):
        stream.greet()
        start = stream.ready(resumed=True, next_send_sequence=2,
                             instance=which)
        assert start.instance == which
        take(stream, 2, 2)
        stream.ack(2)
        stream.drain()
    fake = node(first, second)
    with send(fake, "--count", 2, "--expect-restart") as cli:
        cli.succeed()
    for _ in range(2):
        fake.result()


def test_news_before_the_answer_may_be_of_another_chat(node):
    """It ended while the app was away, and the name is another chat's now:
    the node knows by the version that the app names."""
    def first(stream):
        stream.greet()
        stream.ready()
        take(stream, 1, 2)
        stream.ack(1)

    def second(stream):
        stream.greet()
        start = stream.receive("start_chat")
        for status in ("rekeyed", "peer_away"):
            stream.send(chat_status=pb.ChatStatus(
                chat_id=start.chat_id, peer_app_id=start.target_app_id,
                status=status, key_version=7))

    def third(stream):
        stream.greet()
        start = stream.ready(resumed=True, key_version=7,
                             next_send_sequence=2)
        assert start.key_version == 1 and start.next_send_sequence == 2
        take(stream, 2, 2)
        stream.ack(2)
        stream.drain()
    fake = node(first, second, third)
    with send(fake, "--count", 2, "--expect-restart") as cli:
        cli.succeed()
    for _ in range(3):
        fake.result()


def test_new_process_goes_on_at_the_node_s_sequence(node):
    def script(stream):
        stream.greet()
        stream.ready(resumed=True, next_send_sequence=51)
        take(stream, 51, 52)
        stream.ack(52)
        stream.drain()
    fake = node(script)
    with send(fake, "--count", 2) as cli:
        cli.succeed()
        assert cli.sequences("SENT") == [51, 52]


@pytest.mark.parametrize("code", ["CHAT_NOT_READY", "BACKPRESSURE",
                                  "RATE_LIMITED"])
def test_refused_message_is_sent_again(node, code):
    def script(stream):
        stream.greet()
        stream.ready()
        take(stream, 1, 1)
        stream.error(code, retry_after_nanos=1000000)
        take(stream, 1, 1)
        stream.ack(1)
        stream.drain()
    fake = node(script)
    with send(fake, "--count", 1) as cli:
        assert cli.succeed()["acked"] == 1
    fake.result()


@pytest.mark.parametrize("code", ["UNKNOWN_APP", "ROUTE_UNAVAILABLE",
                                  "TARGET_NOT_FOUND"])
def test_absent_peer_is_asked_for_again(node, code):
    def script(stream):
        stream.greet()
        for _ in range(2):
            start = stream.receive("start_chat")
            stream.chat, stream.peer = start.chat_id, start.target_app_id
            stream.error(code, stream.correlation)
        stream.ready()
        take(stream, 1, 1)
        stream.ack(1)
        stream.drain()
    fake = node(script)
    with send(fake, "--count", 1) as cli:
        cli.succeed()
    fake.result()


def test_absent_peer_is_given_up_in_the_end(node):
    def script(stream):
        stream.greet()
        while True:
            start = stream.receive("start_chat")
            stream.chat, stream.peer = start.chat_id, start.target_app_id
            stream.error("UNKNOWN_APP", stream.correlation)
    fake = node(script)
    with Cli("send", fake.address, "app", PEER, "--timeout", "1",
             "--count", 1) as cli:
        assert cli.exit()[0] in (3, 5)


def test_unknown_chat_is_started_anew(node):
    def script(stream):
        stream.greet()
        start = stream.receive("start_chat")
        assert start.resume
        stream.chat, stream.peer = start.chat_id, start.target_app_id
        stream.error("CHAT_NOT_FOUND", stream.correlation)
        assert not stream.ready().resume
        take(stream, 1, 1)
        stream.ack(1)
        stream.drain()
    fake = node(script)
    with send(fake, "--count", 1) as cli:
        cli.succeed()
    fake.result()


def test_desync_ends_the_chat(node):
    def script(stream):
        stream.greet()
        stream.ready()
        take(stream, 1, 1)
        stream.error("RATCHET_DESYNC")
        stream.gone("ratchet_desync")
        stream.drain()
    fake = node(script)
    with send(fake, "--count", 1) as cli:
        assert cli.exit()[0] == 4
        assert cli.count("DELETED") == 1


# --- receiving --------------------------------------------------------------

def generated(sequence, size=32):
    head = f"{sequence} ".encode()
    tail = bytes(ord("a") + (sequence + i) % 26 for i in range(size))
    return (head + tail[len(head):])[:size]


def test_duplicates_are_dropped(node):
    def script(stream):
        stream.greet()
        stream.ready()
        for sequence in (1, 2, 2, 1, 3):
            stream.message(sequence, generated(sequence))
        stream.drain()
    with recv(node(script), "--count", 3, "--check") as cli:
        done = cli.succeed()
        assert (done["received"], done["duplicates"]) == (3, 2)
        assert cli.sequences("RECEIVED") == [1, 2, 3]


def offered(stream):
    """The peer's offer of a chat, and the app's StartChat after it."""
    stream.greet()
    stream.chat, stream.peer = "early", PEER
    stream.send(start_chat=pb.StartChat(
        chat_id="early", source_app_id=PEER,
        target_app_id=Identity("app").id))
    stream.receive("start_chat")


def test_messages_wait_until_the_chat_is_ready(node):
    """A node may hand them out before it answers the StartChat; none can be
    answered before."""
    def script(stream):
        offered(stream)
        for sequence in (1, 2, 3):
            stream.message(sequence, generated(sequence))
        stream.send(stream.correlation, start_chat_ack=pb.StartChatAck(
            chat_id="early", peer_app_id=PEER, key_version=1,
            next_send_sequence=1, next_receive_sequence=1))
        take(stream, 1, 3)
        stream.ack(3)
        stream.drain()
    with Cli("recv", node(script).address, "app", "--count", 3, "--check",
             "--echo") as cli:
        assert cli.succeed()["received"] == 3
        words = [line.split()[0] for line in cli.lines]
        assert words.index("READY") < words.index("RECEIVED")
        assert cli.sequences("RECEIVED") == [1, 2, 3]


def test_messages_of_a_chat_that_was_never_ready(node):
    """It ended before; what came is given all the same."""
    def script(stream):
        offered(stream)
        stream.message(1, generated(1))
        stream.gone("deleted_by_peer")
        stream.drain()
    with Cli("recv", node(script).address, "app", "--check") as cli:
        cli.wait("DELETED")
        words = [line.split()[0] for line in cli.lines]
        assert words.index("RECEIVED") < words.index("DELETED")


def begin_with(*sequences):
    """A stream on which a chat is ready and these messages come."""
    def script(stream):
        stream.greet()
        stream.ready()
        for sequence in sequences:
            stream.message(sequence, generated(sequence))
    return script


def asked(stream):
    """The app is back, and asks for its chat."""
    stream.greet()
    start = stream.receive("start_chat")
    stream.chat, stream.peer = start.chat_id, start.target_app_id
    return start


def test_messages_of_a_chat_that_goes_on_wait_for_the_answer(node):
    """One of them twice; what the answer says comes after them."""
    def second(stream):
        start = asked(stream)
        assert start.next_receive_sequence == 3
        for sequence in (2, 3, 4, 4):
            stream.message(sequence, generated(sequence))
        stream.send(stream.correlation, start_chat_ack=pb.StartChatAck(
            chat_id=stream.chat, peer_app_id=stream.peer, key_version=1,
            resumed=True, next_send_sequence=1, next_receive_sequence=5))
        stream.message(5, generated(5))
        stream.drain()
    with recv(node(begin_with(1, 2), second), "--count", 5, "--check",
              "--expect-restart") as cli:
        done = cli.succeed()
        assert (done["duplicates"], done["gaps"]) == (2, 0)
        assert cli.sequences("RECEIVED") == [1, 2, 3, 4, 5]
        words = [line.split()[0] for line in cli.lines]
        assert words.index("RESUMED") < words.index(
            "RECEIVED", words.index("DISCONNECTED"))


def test_messages_of_the_next_chat_of_the_name_are_not_old(node):
    """The chat ended while the app was away. Its node took the next one for
    it, and hands out what came in that before it hears which chat the app
    means."""
    def second(stream):
        start = asked(stream)
        assert (start.key_version, start.next_receive_sequence) == (1, 4)
        for sequence in (1, 2):
            stream.message(sequence, generated(sequence))
        stream.error("REPLAYED_KEY", stream.correlation)
        start = stream.ready(key_version=2, next_receive_sequence=3)
        assert (start.key_version, start.resume) == (0, True)
        assert start.next_receive_sequence == 0
        stream.message(3, generated(3))
        stream.drain()
    with recv(node(begin_with(1, 2, 3), second), "--check",
              "--expect-restart") as cli:
        cli.wait("RECEIVED", 6)
        assert cli.sequences("RECEIVED") == [1, 2, 3, 1, 2, 3]
        assert cli.count("DELETED") == 1


@pytest.mark.parametrize("answer", ["ended", "CHAT_NOT_FOUND",
                                    "RATE_LIMITED"])
def test_a_chat_that_is_over_is_not_taken_up_again(node, answer):
    """The node did not hear of its end, and the peer still goes on with it:
    it ends there, too, unseen, and another begins."""
    old, new = b"o" * 16, b"n" * 16

    def script(stream):
        stream.greet()
        stream.ready(instance=old)
        stream.message(1, generated(1))
        stream.gone("deleted_by_peer")
        stream.message(2, generated(2))
        stream.ready(instance=old, resumed=True, next_receive_sequence=3)
        stream.message(3, generated(3))
        delete = stream.receive("delete_chat")
        assert (delete.chat_id, delete.peer_app_id) == (stream.chat,
                                                        stream.peer)
        stream.message(4, generated(4))
        if answer == "ended":
            stream.gone("deleted")
        else:
            stream.error(answer, stream.correlation)
        if answer == "RATE_LIMITED":
            stream.ready(instance=old, resumed=True, next_receive_sequence=5)
            stream.receive("delete_chat")
            stream.gone("deleted")
        start = stream.ready(instance=new, key_version=2)
        assert (start.key_version, start.resume, start.instance) == (
            0, False, b"")
        stream.message(1, generated(1))
        stream.drain()
    with recv(node(script), "--check", "--expect-restart") as cli:
        cli.wait("RECEIVED", 2)
        assert cli.sequences("RECEIVED") == [1, 1]
        assert cli.count("DELETED") == 1


@pytest.mark.parametrize("named, gone", [(b"o" * 16, 0), (b"n" * 16, 1),
                                         (b"", 1)])
def test_the_end_of_another_chat_of_the_name_is_not_its_own(node, named,
                                                            gone):
    """A node that still had an older one ends that, before it hears which the
    app goes on with."""
    def first(stream):
        stream.greet()
        stream.ready(instance=b"n" * 16)
        stream.message(1, generated(1))

    def second(stream):
        start = asked(stream)
        assert start.instance == b"n" * 16
        stream.send(delete_chat_ack=pb.DeleteChatAck(
            chat_id=stream.chat, peer_app_id=stream.peer, status="expired",
            instance=named))
        stream.send(stream.correlation, start_chat_ack=pb.StartChatAck(
            chat_id=stream.chat, peer_app_id=stream.peer, key_version=1,
            resumed=True, next_send_sequence=1, next_receive_sequence=2,
            instance=b"n" * 16))
        stream.message(2, generated(2))
        stream.drain()
    with recv(node(first, second), "--check", "--expect-restart", "--count",
              2) as cli:
        if gone:
            cli.wait("DELETED")
        else:
            cli.succeed()
            assert cli.sequences("RECEIVED") == [1, 2]
        assert cli.count("DELETED") == gone


def test_a_chat_that_is_over_and_deleted_does_not_begin(node):
    """The app deletes it while its end is under way at the node: that was all
    of it."""
    under_way, deleted = threading.Event(), threading.Event()
    third = Identity("third").id

    def script(stream):
        stream.greet()
        stream.offer("chat", PEER)
        stream.ready(instance=b"o" * 16)
        stream.message(1)
        stream.gone("deleted_by_peer")
        stream.offer("chat", PEER)
        stream.ready(instance=b"o" * 16, resumed=True)
        stream.receive("delete_chat")
        under_way.set()
        assert deleted.wait(WAIT)
        # What the app answers to this, it says after what it was told before.
        stream.offer("other", third)
        kind = ""
        while kind != "start_chat":
            frame = next(stream.frames)
            kind = frame.WhichOneof("body")
            if kind == "delete_chat":
                stream.error("CHAT_NOT_FOUND", frame.correlation_id)
        stream.gone("deleted")
        stream.gone("deleted_by_peer", "other", third)
        return [f.start_chat.chat_id for f in stream.read()
                if f.WhichOneof("body") == "start_chat"]
    fake = node(script)
    with Cli("recv", fake.address, "app", "--timeout", WAIT, "--delete",
             "--expect-restart") as cli:
        assert under_way.wait(WAIT)
        cli.process.send_signal(signal.SIGINT)
        status = f"/proc/{cli.process.pid}/status"

        def taken():
            with open(status) as file:
                fields = dict(line.split(":", 1) for line in file)
            return not (int(fields["SigPnd"], 16) or
                        int(fields["ShdPnd"], 16))
        until("the signal is taken", taken)
        deleted.set()
        cli.succeed()
        assert cli.count("DELETED") == 3
    assert fake.result() == []


def test_a_chat_that_is_over_and_deleted_while_it_waits_ends(node):
    """The node would not end it yet: that is asked for again when the app
    deletes it, and not only when the wait is over."""
    waits = threading.Event()
    third = Identity("third").id

    def script(stream):
        stream.greet()
        stream.offer("chat", PEER)
        stream.ready(instance=b"o" * 16)
        stream.gone("deleted_by_peer")
        stream.offer("chat", PEER)
        stream.ready(instance=b"o" * 16, resumed=True)
        stream.receive("delete_chat")
        stream.error("RATE_LIMITED", stream.correlation,
                     retry_after_nanos=10**13)
        stream.offer("other", third)
        stream.receive("start_chat")
        waits.set()
        for _ in range(2):
            delete = stream.receive("delete_chat")
            stream.gone("deleted", delete.chat_id, delete.peer_app_id)
        stream.drain()
    fake = node(script)
    with Cli("recv", fake.address, "app", "--timeout", WAIT, "--delete",
             "--expect-restart") as cli:
        assert waits.wait(WAIT)
        cli.process.send_signal(signal.SIGINT)
        cli.succeed()
        assert cli.count("DELETED") == 3
    fake.result()


@pytest.mark.parametrize("answer", ["old", "RATE_LIMITED"])
def test_a_node_that_repeats_itself_is_asked_ever_later(node, answer):
    """It gives the chat that is over again each time, or refuses each time
    and says that it need not be waited for."""
    def script(stream):
        stream.greet()
        stream.ready(instance=b"o" * 16)
        stream.message(1)
        stream.gone("deleted_by_peer")
        stream.message(2)
        asked = 0
        try:
            while True:
                if answer == "old":
                    stream.ready(instance=b"o" * 16, resumed=True)
                    stream.receive("delete_chat")
                    stream.gone("deleted")
                else:
                    stream.receive("start_chat")
                    stream.error(answer, stream.correlation,
                                 retry_after_nanos=1)
                asked += 1
        except ConnectionError:
            return asked
    fake = node(script)
    with recv(fake, "--expect-restart", "--timeout", "3") as cli:
        assert cli.exit()[0] == 5
    assert fake.result() < 30


def test_strangers_offers_are_no_end_of_a_chat_with_others(node):
    """Who offers a chat and takes it back ends no other one; who offers
    without end is not remembered without end."""
    strangers = [Identity(f"stranger {i}").id for i in range(80)]

    def script(stream):
        stream.greet()
        stream.ready()
        for stranger in strangers:
            stream.offer("offer", stranger)
        stream.gone("deleted_by_peer", "offer", strangers[-1])
        take(stream, 1, 1)
        stream.ack(1)
        stream.drain()
    with send(node(script), "--count", 1) as cli:
        cli.succeed()
        ends = [l for l in cli.lines if l.startswith("DELETED ")]
    assert ends == 16 * ["DELETED expired"] + ["DELETED deleted_by_peer"]


def test_gap_is_told(node):
    def script(stream):
        stream.greet()
        stream.ready()
        for sequence in (1, 3):
            stream.message(sequence, generated(sequence))
        stream.drain()
    with recv(node(script), "--count", 2, "--check") as cli:
        code, done = cli.exit()
        assert code == 6 and done["gaps"] == 1


def test_altered_message_is_told(node):
    def script(stream):
        stream.greet()
        stream.ready()
        stream.message(1, generated(2))
        stream.drain()
    with recv(node(script), "--count", 1, "--check") as cli:
        assert cli.exit()[0] == 6


def test_message_lost_over_a_resume_is_a_gap(node):
    def first(stream):
        stream.greet()
        stream.ready()
        stream.message(1, generated(1))

    def second(stream):
        stream.greet()
        stream.ready(resumed=True, next_receive_sequence=3)
        stream.message(3, generated(3))
        stream.drain()
    with recv(node(first, second), "--count", 2, "--check",
              "--expect-restart") as cli:
        code, done = cli.exit()
        assert code == 6 and done["gaps"] == 1


def test_hostile_text_is_made_harmless(node):
    def script(stream):
        stream.greet()
        stream.ready()
        stream.message(1, b"\x1b[2Jhello\xc2\x9b1m")
        stream.drain()
    fake = node(script)
    out = hermes("recv", "-n", fake.address, "--seed", "app", "--count", 1,
                 PEER)
    assert out.returncode == 0
    assert out.stdout == f"{PEER[:12]} \\x1b[2Jhello\\xc2\\x9b1m\n"


# --- the node goes ----------------------------------------------------------

def test_replaced_is_final(node):
    def script(stream):
        stream.greet()
        stream.ready()
        stream.send(go_away=pb.GoAway(reason="replaced"))
    fake = node(script)
    with send(fake, "--count", 1, "--expect-restart") as cli:
        cli.wait("GO_AWAY")
        assert cli.exit()[0] == 2


def test_app_has_arrived_when_its_chat_is_answered(node):
    """A node that dies before may have what the app left there, still."""
    def goes_away(stream):
        stream.greet()
        stream.ready()
        stream.send(go_away=pb.GoAway(
            reason="shutdown", grace_nanos=10**9, nodes=[pb.NodeHint(
                node_id="fake", endpoint=other.address,
                node_public_key=bytes(other.identity.verify_key))]))
        stream.drain()

    def dies(stream):
        asked(stream)
        return stream.connect.arrived

    def answers(stream):
        stream.greet()
        stream.ready(resumed=True)
        return stream.connect.arrived

    other = node(dies, answers, answers)
    with recv(node(goes_away), "--follow", "--count", 1) as cli:
        cli.wait("RESUMED", 2)
    assert [other.results.get(timeout=WAIT) for _ in range(3)] == [
        True, True, False]


def test_lost_node_without_restart_is_an_error(node):
    def script(stream):
        stream.greet()
        stream.ready()
        take(stream, 1, 1)
    with send(node(script), "--count", 1) as cli:
        code, done = cli.exit()
        assert code == 2 and done["acked"] == 0


def test_garbage_frame_is_survived(node):
    def first(stream):
        stream.greet()
        stream.send(chat_message=pb.ChatMessage(
            chat_id="\x01", peer_app_id="zz", sequence=1))
        stream.send(start_chat=pb.StartChat(chat_id="", source_app_id="q"))
        stream.send(chat_message_ack=pb.ChatMessageAck(chat_id="no"))
        stream.send(delete_chat_ack=pb.DeleteChatAck(chat_id="no"))
        stream.send(start_chat_ack=pb.StartChatAck(chat_id="no"))
        stream.send(chat_status=pb.ChatStatus(chat_id="no", status="x"))
        stream.ready()
        stream.ack(99)
        take(stream, 1, 1)
        stream.ack(1)
        stream.drain()
    with send(node(first), "--count", 1) as cli:
        cli.succeed()


# --- keys and lines ---------------------------------------------------------

def test_key_file(tmp_path):
    path = tmp_path / "key"
    made = hermes("keygen", path)
    assert made.returncode == 0
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert hermes("id", "-k", path).stdout == made.stdout
    assert len(made.stdout.strip()) == 64
    assert hermes("keygen", path).returncode == 1  # never overwritten
    os.chmod(path, 0o640)
    assert hermes("id", "-k", path).returncode == 1
    os.chmod(path, 0o600)
    path.write_text("short\n")
    assert hermes("id", "-k", path).returncode == 1


def test_seed_text_is_hashed():
    assert hermes("id", "--seed", "mockapp-sender").stdout.strip() == (
        "274d94e1e82c4d4803beae1e5da8f1549e43a3564fb00ea1fec3ed11fa41fb25")


def test_lines_of_stdin(node, tmp_path):
    def script(stream):
        stream.greet()
        stream.ready()
        got = [stream.receive("chat_message").payload for _ in range(3)]
        stream.ack(3)
        stream.drain()
        return got
    text = tmp_path / "lines"
    text.write_text("one\n\nlast without newline")
    for stdin in (open(text), subprocess.PIPE):
        fake = node(script)
        process = subprocess.Popen(
            [HERMES, "send", "-q", "-n", fake.address, "--seed", "app", PEER],
            stdin=stdin)
        if stdin is subprocess.PIPE:
            process.communicate(text.read_bytes(), timeout=WAIT)
        assert process.wait(WAIT) == 0
        assert fake.result() == [b"one", b"", b"last without newline"]


def test_usage_errors():
    assert hermes().returncode == 1
    assert hermes("nonsense").returncode == 1
    assert hermes("send", PEER).returncode == 1  # no node
    assert hermes("send", "-n", "nowhere", "--seed", "x", PEER
                  ).returncode == 1
    assert hermes("send", "-n", "127.0.0.1:1", "--seed", "x", "--count", "0",
                  PEER).returncode == 1
    assert hermes("find", "-n", "127.0.0.1:1", "--seed", "x", PEER
                  ).returncode == 2


@pytest.mark.parametrize("chat, peer, why", [
    ("c", "app", "chat c: an app has none with itself"),
    ("c" * 129, "peer", f"chat {'c' * 129}: not a name of 1 to 128 bytes"),
], ids=["itself", "long"])
def test_a_chat_that_cannot_be(node, chat, peer, why):
    def script(stream):
        stream.greet()
        stream.drain()
    fake = node(script)
    run = hermes("send", "-n", fake.address, "--seed", "app", "--chat", chat,
                 Identity(peer).id)
    assert run.returncode == 1
    assert f"hermes: {why}" in run.stderr.splitlines(), run.stderr


@pytest.mark.parametrize("arguments, why", [
    (("nonsense",), "nonsense: no such command"),
    (("send",), "send: PEER is missing"),
    (("id", "x"), "id: x: one argument too many"),
    (("find", "xyz"), "xyz: not the id of an app, 64 hexadecimal digits"),
    (("id", "-k", "/nowhere/key"),
     "/nowhere/key: is not there; hermes keygen makes one"),
    (("send", "-n", "nowhere", "--seed", "x", PEER),
     "nowhere: not host:port"),
    (("send", "-n", "127.0.0.1:1", "--seed", "x", PEER),
     "not connected: 127.0.0.1 port 1: Connection refused"),
    (("send", "-n", "127.0.0.1:1", "--seed", "x", "-t", "0.2",
      "--expect-restart", PEER), "timeout: no connection to 127.0.0.1:1"),
])
def test_errors_say_what_is_wrong(arguments, why):
    run = hermes(*arguments)
    assert run.returncode != 0
    assert f"hermes: {why}" in run.stderr.splitlines()[0:3], run.stderr
