"""Apps that go from node to node: the newest signature says where an app is,
what it left behind ends, its chats go on at once and lose nothing (L36)."""

import contextlib
import signal
import time

import pytest

from hermes_cli import Cli
from hermes_node import Mesh, until, wait_alive
from hermes_wire import Closed, Identity, Session, meet
from netns import Load, arrived
from test_drain import drain
from test_kill import LONG


@pytest.fixture(scope="module")
def mesh():
    with Mesh(3) as three:
        yield three


def where(node, identity):
    return [row["node_id"] for row in node.show("apps")
            if row["app_id"] == identity.id]


def talk(a, b, chat, n):
    """Message n of each side arrives at the other, once."""
    for one, other in ((a, b), (b, a)):
        one.message(chat, n, f"{n}".encode())
        assert other.received(chat) == (n, f"{n}".encode())
        one.acked(chat, n)


def begin(a, b, chat):
    meet(a, b)
    for one, other in ((a, b), (b, a)):
        one.start(chat, other.identity)
    for one in (a, b):
        one.wait_ready(chat)


@pytest.mark.parametrize("to", [0, 2], ids=["third-node", "the-peer's-node"])
@pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "stays"])
def test_L36_app_moves_and_its_chats_with_it(mesh, to, leaves):
    """anna goes from beta to alpha or to gamma, where bert is; her stream at
    beta is closed or still open. And back again."""
    chat = f"move-{to}-{leaves}"
    anna, bert = Session(mesh[1].app), Session(mesh[2].app)
    for one in (anna, bert):
        one.connect()
    begin(anna, bert, chat)
    talk(anna, bert, chat, 1)
    n = 1
    for place in (to, 1):
        old = anna
        if leaves:
            old.close()
        anna = Session(mesh[place].app, old.identity)
        anna.connect()
        anna.start(chat, bert.identity)
        ack = anna.wait_ready(chat)
        # That she got the last one, bert's keyd hears by and by.
        assert ack.next_send_sequence == n + 1
        assert ack.next_receive_sequence in (n, n + 1)
        n += 1
        talk(anna, bert, chat, n)
        if not leaves:
            assert old.wait("go_away").reason == "moved"
            with pytest.raises(Closed):
                old.wait("challenge")
            old.close()
        for node in mesh.nodes:
            until("all know where she is", lambda: where(
                node, anna.identity) == [mesh[place].name])
        assert bert.none("delete_chat_ack")
    anna.delete(chat)
    assert bert.deleted(chat) == "deleted_by_peer"
    anna.close()
    bert.close()


def test_newest_signature_wins_whatever_order_it_comes_in(mesh):
    """Signed for beta after it was signed for alpha, but shown before."""
    identity = Identity()
    first, second = (Session(mesh[i].app, identity) for i in (0, 1))
    second.connect()
    old = time.time_ns() - 20 * 10**9
    first.connect(issued_at=old)
    for node in mesh.nodes:
        until("beta has it", lambda: where(node, identity) == ["beta"])
    assert first.wait("go_away").reason == "moved"
    assert first.wait_closed().name == "ABORTED"
    second.ping()
    assert second.none("go_away")
    first.close()
    second.close()


class Follower:
    """anna sends to bert, who echoes; both go after their nodes."""

    def __init__(self, mesh, name, count, places=(0, 1), extra=()):
        self.count = count
        anna, bert = f"{name}-anna", f"{name}-bert"
        self.bert = Cli("recv", mesh[places[1]].app, bert, "--chat", name,
                        "--check", "--echo", "--stay", "--count", count,
                        "--follow", "--timeout", LONG, *extra, Cli.id(anna))
        self.anna = Cli("send", mesh[places[0]].app, anna, "--chat", name,
                        "--check", "--answers", count, "--count", count,
                        "--interval", "0.01", "--follow", "--delete",
                        "--timeout", LONG, *extra, Cli.id(bert))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.anna.kill()
        self.bert.kill()

    def finish(self):
        done = self.anna.succeed(LONG), self.bert.succeed(LONG)
        every = list(range(1, self.count + 1))
        for cli, numbers in zip((self.anna, self.bert), done):
            assert cli.sequences("SENT") == every
            assert cli.sequences("RECEIVED") == every
            assert numbers["gaps"] == 0
        assert self.anna.sequences("ACKED") == every


def goes_on(cli, times=30):
    """It receives times more, and waits for no route grace."""
    cli.wait("RECEIVED", cli.count("RECEIVED") + times, timeout=LONG)


@pytest.mark.parametrize("extra", [(), ("--end-to-end",)],
                         ids=["plain", "end-to-end"])
@pytest.mark.parametrize("how", ["drain", "kill"])
def test_follow_another_node(mesh, how, extra):
    """The node of one app stops, or dies; the app goes to another by itself
    and the chat goes on, though the node never comes back meanwhile."""
    name = f"follow-{how}{len(extra)}"
    with Follower(mesh, name, 300, extra=extra) as pair:
        pair.anna.wait("RECEIVED", 50, timeout=LONG)
        if how == "drain":
            drain(mesh[0])
            assert mesh[0].process.wait(60) == 0
            pair.anna.wait("GO_AWAY shutdown")
        else:
            mesh[0].sigkill()
        connected = pair.anna.wait("CONNECTED", 2, timeout=LONG)
        assert connected != "CONNECTED node=alpha"
        goes_on(pair.anna)
        goes_on(pair.bert)
        pair.finish()
    mesh[0].start()
    for node in mesh.nodes:
        wait_alive(node, 3)


def test_follow_from_node_to_node(mesh):
    """Each node that one app comes to dies, until it is where its peer is;
    the chat goes on through all of it."""
    count = 4000
    with Follower(mesh, "again", count, (0, 2)) as pair:
        at = mesh[0]
        for deaths in range(1, 4):
            pair.anna.wait("RECEIVED", pair.anna.count("RECEIVED") + 50,
                           timeout=LONG)
            at.sigkill()
            name = pair.anna.wait("CONNECTED", deaths + 1,
                                  timeout=LONG).split("=")[1]
            goes_on(pair.anna)
            at.start()
            at = next(node for node in mesh.nodes if node.name == name)
            if at is mesh[2]:
                break
        pair.anna.process.send_signal(signal.SIGTERM)
        anna, bert = pair.anna, pair.bert
        anna.exit()
        # What has left bert's node it may have yet to read.
        bert.wait("RECEIVED", anna.count("ACKED"), timeout=LONG)
        sent, came = anna.sequences("SENT"), bert.sequences("RECEIVED")
        assert came == list(range(1, len(came) + 1))
        assert anna.sequences("RECEIVED") == list(range(
            1, anna.count("RECEIVED") + 1))
        assert anna.count("ACKED") <= len(came) <= len(sent)
    for node in mesh.nodes:
        wait_alive(node, 3)


@pytest.mark.parametrize("how, places, extra", [
    ("drain", (0, 0), ()), ("kill", (1, 1), ("--end-to-end",)),
    ("kill", (0, 1), ())],
    ids=["both-at-a-node-that-stops", "both-at-a-node-that-dies",
         "each-at-one-that-dies"])
def test_follow_when_no_node_is_left_that_knew_the_chat(
        mesh, how, places, extra):
    """Only the two apps know how far they were; they go on there."""
    name = f"lost-{how}-{places}"
    with Follower(mesh, name, 300, places, extra) as pair:
        pair.anna.wait("RECEIVED", 50, timeout=LONG)
        for i in set(places):
            if how == "drain":
                drain(mesh[i])
                assert mesh[i].process.wait(60) == 0
            else:
                mesh[i].sigkill()
        for cli in (pair.anna, pair.bert):
            cli.wait("CONNECTED", 2, timeout=LONG)
        goes_on(pair.anna)
        pair.finish()
    for i in set(places):
        mesh[i].start()
    for node in mesh.nodes:
        wait_alive(node, 3)


def test_apps_that_go_round_lose_and_double_nothing(mesh):
    """Two apps that talk all the while go to where the other was, and where
    both have been before; what they left there is out of date, and the chat
    ends and begins anew on the way."""
    with contextlib.ExitStack() as stack:
        load = Load(mesh[0])
        stack.callback(load.end)
        names, chats = ("round-a", "round-b"), ("round-1", "round-2")
        for name in names:
            load.app(name)
        for chat in chats:
            for one, other in (names, names[::-1]):
                load.chat(one, chat, other, 20, 0, 256)
        load.say("go")

        def goes_on(what):
            before = {(r["chat"], r["app"]): r for r in load.show()}
            until(f"both ends go on: {what}", lambda: all(
                r["ready"] and
                r["acked"] > before[r["chat"], r["app"]]["acked"] + 3 and
                r["received"] > before[r["chat"], r["app"]]["received"] + 3
                for r in load.show()), LONG)
        goes_on("at first")
        for places in ((1, 2), (2, 1), (0, 1), (1, 0), (1, 2), (0, 0)):
            for name, i in zip(names, places):
                load.say(f"move {name} {mesh[i].app}")
            goes_on(places)
        # One is away when the other ends a chat, and comes to a node that
        # knows the one that ended.
        load.say(f"move round-b {mesh[2].app}")
        goes_on("before the end")
        load.say("move round-b 127.0.0.1:9")
        load.say("delete round-a round-2")
        until("begun anew", lambda: any(
            r["ends"] for r in load.show() if r["app"] == "round-a"), LONG)
        load.say(f"move round-b {mesh[2].app}")
        goes_on("after the end")
        load.say("stop")
        until("all arrived", lambda: all(
            r["ready"] for r in load.show()) and arrived(load.show()), LONG)
        rows = {(r["chat"], r["app"]): r for r in load.show()}
        for (chat, app), row in rows.items():
            peer = rows[chat, row["peer"]]
            assert row["wrong"] == 0, rows
            if chat == "round-1":
                assert row["ends"] == 0, rows
                assert row["sent"] == row["acked"] == (
                    peer["received"] + peer["gaps"]), rows
            else:
                assert row["ends"] >= 1, rows
                assert peer["received"] <= row["sent"], rows


@pytest.mark.parametrize("first", ["app", "peer"])
def test_what_was_left_behind_is_not_what_goes_on(mesh, first):
    """anna has a chat at beta, which is down when she goes on at alpha; that
    one ends, and the next of its name begins at alpha, of the same version.
    Then she comes back to beta, where the first one still is, and says that
    she has the other, before her peer or after."""
    chat = f"left-behind-{first}"
    anna, bert = Session(mesh[1].app), Session(mesh[2].app)
    for one in (anna, bert):
        one.connect()
    begin(anna, bert, chat)
    for n in range(1, 6):
        talk(anna, bert, chat, n)
    anna.start(chat, bert.identity, resume=True)
    had = anna.wait_ready(chat)
    for node in (mesh[1], mesh[2]):
        node.sigkill()
    # Where nobody has heard of either. gamma forgets its part of it, too.
    anna, bert = (Session(mesh[0].app, one.identity) for one in (anna, bert))
    for one in (anna, bert):
        one.connect(arrived=True)
    begin(anna, bert, chat)
    for n in range(1, 3):
        talk(anna, bert, chat, n)
    anna.start(chat, bert.identity, resume=True)
    has = anna.wait_ready(chat)
    assert has.key_version == had.key_version
    assert len(has.instance) == len(had.instance) == 16
    assert has.instance != had.instance
    for node in (mesh[1], mesh[2]):
        node.start()
    for node in mesh.nodes:
        wait_alive(node, 3)
    # She does not say that she was elsewhere: beta believes what it has.
    old, anna = anna, Session(mesh[1].app, anna.identity)
    anna.connect()
    assert old.wait("go_away").reason == "moved"
    if first == "peer":
        bert.start(chat, anna.identity, resume=True)
    until("all know where she is", lambda: all(
        where(node, anna.identity) == ["beta"] for node in mesh.nodes))
    anna.start(chat, bert.identity, version=has.key_version, resume=True,
               next_send_sequence=3, next_receive_sequence=3,
               instance=has.instance)
    ack = anna.wait_ready(chat)
    assert ack.instance == has.instance
    assert (ack.next_send_sequence, ack.next_receive_sequence) == (3, 3)
    talk(anna, bert, chat, 3)
    # What it was is over there, too, and begins no more.
    for one in (old, anna, bert):
        one.close()


def test_a_chat_that_ended_unheard_does_not_come_back(mesh):
    """anna deletes it while bert is away, and both come to a node that has
    heard of neither: bert goes on with it, but anna's app knows better."""
    left, right = Load(mesh[0]), Load(mesh[1])
    left.app("unheard-anna")
    right.app("unheard-bert")
    left.chat("unheard-anna", "unheard", "unheard-bert", 20, 0)
    right.chat("unheard-bert", "unheard", "unheard-anna", 20, 0)

    def ends():
        (anna,), (bert,) = left.show(), right.show()
        return anna, bert

    def talk_on():
        before = [row["acked"] for row in ends()]
        until("both talk", lambda: all(
            row["acked"] > old + 5 for row, old in zip(ends(), before)), LONG)

    for load in (left, right):
        load.say("go")
    talk_on()
    bert = Identity("unheard-bert")
    assert where(mesh[0], bert) == ["beta"]
    right.say("move unheard-bert 127.0.0.1:9")
    until("bert is away", lambda: where(mesh[0], bert) == [])
    left.say("delete unheard-anna unheard")
    until("it has ended", lambda: ends()[0]["ends"] == 1)
    left.say(f"move unheard-anna {mesh[2].app}")
    until("anna is at gamma", lambda: ends()[0]["connects"] == 2)
    right.say(f"move unheard-bert {mesh[2].app}")
    until("bert has heard of it", lambda: ends()[1]["ends"] == 1, LONG)
    talk_on()
    for load in (left, right):
        load.say("stop")
    until("all settled", lambda: all(
        row["sent"] == row["acked"] + row["abandoned"] for row in ends()))
    anna, bert = ends()
    assert (anna["ends"], bert["ends"]) == (1, 1)
    for one, other in ((anna, bert), (bert, anna)):
        assert one["wrong"] == 0 and other["received"] <= one["sent"], ends()
    left.end()
    right.end()


def test_moved_is_final(mesh):
    """Two of one identity do not throw each other out for ever."""
    with Cli("recv", mesh[0].app, "twice", "--stay", "--follow") as one:
        one.wait("CONNECTED")
        until("known", lambda: where(mesh[1], Identity("twice")))
        with Cli("recv", mesh[1].app, "twice", "--stay", "--follow") as two:
            two.wait("CONNECTED")
            one.wait("GO_AWAY moved")
            assert one.exit()[0] == 2
            assert two.count("DISCONNECTED") == 0
