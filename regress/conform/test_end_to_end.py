"""The end-to-end layer between apps: libhermes, through hermes(1), on two
real nodes, with itself and with an app whose layer was written apart."""

import os

import pytest

from hermes_cli import Cli, hermes
from hermes_e2e import MARK, Ratchet
from hermes_node import until
from hermes_wire import Identity
from test_libhermes import generated

SECURE = ("--end-to-end", "--timeout", 90)


@pytest.fixture(scope="module")
def names():
    """Fresh seeds for each test, so that chats do not meet."""
    def make(*words):
        return [f"{word}-{os.urandom(8).hex()}" for word in words]
    return make


def recv(node, seed, *arguments):
    return Cli("recv", node.app, seed, *SECURE, *arguments)


def send(node, seed, peer, *arguments):
    return Cli("send", node.app, seed, Cli.id(peer), *SECURE, *arguments)


class Foreign:
    """A session of grpcio with the layer of hermes_e2e.py."""

    def __init__(self, session, peer, chat_id):
        self.session, self.peer, self.chat_id = session, peer, chat_id
        self.ratchet = Ratchet(session.identity, peer.public, chat_id)
        self.sent = 0
        session.connect()

    def begin(self):
        """Take the chat that the peer offers, with both keys."""
        offer = self.session.wait("start_chat")
        assert offer.hkdf_salt == b""
        self.ratchet.begin(offer.local_ephemeral_public_key)
        self.session.ready(self.chat_id, self.peer, key=self.ratchet.key,
                           hkdf_salt=self.ratchet.answered)

    def send(self, plain):
        self.sent += 1
        self.session.message(self.chat_id, self.sent,
                             self.ratchet.seal(self.sent, plain))

    def receive(self):
        message = self.session.wait("chat_message")
        return self.ratchet.open(message.sequence, message.payload)


@pytest.mark.parametrize("lower", [True, False])
def test_talks_with_a_layer_written_apart(mesh, sessions, names, lower):
    """Both roles: hermes(1) as the smaller and as the larger app."""
    while True:
        mine, = names("mine")
        theirs = Identity()
        if (Identity(mine).public < theirs.public) == lower:
            break
    foreign = Foreign(sessions(mesh[1].app, theirs), Identity(mine), "apart")
    with Cli("chat", mesh[0].app, mine, theirs.id, "--chat", "apart",
             *SECURE) as cli:
        foreign.begin()
        # Both speak at once, then in turns: the ratchet turns each time.
        foreign.send(b"hello of mine")
        cli.type("hello of yours\n")
        assert foreign.receive() == b"hello of yours"
        for turn in range(20):
            foreign.send(b"turn %d" % turn)
            foreign.send(b"and more of it")
            until("lines arrive", lambda: sum(
                "and more of it" in line for line in cli.lines) == turn + 1)
            cli.type(f"answer {turn}\n")
            assert foreign.receive() == b"answer %d" % turn
        assert any("hello of mine" in line for line in cli.lines)


def test_nodes_see_nothing(mesh, sessions, names):
    """What the peer's node hands out shows neither text nor its length
    unsealed."""
    mine, = names("mine")
    theirs = Identity()
    foreign = Foreign(sessions(mesh[1].app, theirs), Identity(mine), "hidden")
    with Cli("chat", mesh[0].app, mine, theirs.id, "--chat", "hidden",
             *SECURE) as cli:
        foreign.begin()
        cli.type("not for the node\n")
        payload = foreign.session.wait("chat_message").payload
        assert payload[0] == MARK and b"node" not in payload
        assert foreign.ratchet.open(1, payload) == b"not for the node"


def test_load_and_rekeys(mesh, names):
    one, other = names("one", "other")
    with recv(mesh[1], other, Cli.id(one), "--echo", "--check", "-c",
              3000) as sink:
        with send(mesh[0], one, other, "-c", 3000, "--check", "--answers",
                  3000, "--rekey-every", 1200) as source:
            counted = source.succeed(90)
            assert counted["acked"] == counted["received"] == 3000
        assert sink.succeed(90)["received"] == 3000


def test_altered_is_reported_and_not_delivered(mesh, sessions, names):
    mine, = names("mine")
    theirs = Identity()
    foreign = Foreign(sessions(mesh[1].app, theirs), Identity(mine), "bad")
    with Cli("chat", mesh[0].app, mine, theirs.id, "--chat", "bad",
             *SECURE) as cli:
        foreign.begin()
        foreign.send(b"first")
        until("first", lambda: any("first" in l for l in cli.lines))
        foreign.session.message("bad", 2, b"in the clear")
        cli.wait_error("E2E_BROKEN")
        foreign.sent = 2
        foreign.send(b"third")
        until("third", lambda: any("third" in l for l in cli.lines))
        assert not any("clear" in line for line in cli.lines)


def test_peer_without_the_layer(mesh, sessions, names):
    """It is said, and nothing is sent in the clear instead."""
    mine, = names("mine")
    peer = sessions(mesh[1].app, Identity())
    peer.connect()
    with Cli("chat", mesh[0].app, mine, peer.identity.id, "--chat", "plain",
             *SECURE) as cli:
        peer.wait("start_chat")
        peer.ready("plain", Identity(mine))
        cli.type("must not be seen\n")
        cli.wait_error("E2E_UNAVAILABLE")
        assert peer.none("chat_message")


def state_folder(path):
    path.mkdir(mode=0o700)
    path.chmod(0o700)
    return path


def test_restart_with_its_state(mesh, names, tmp_path):
    """A receiver that was killed reads what was on its way, and goes on."""
    one, other = names("one", "other")
    state = state_folder(tmp_path / "state")
    options = (Cli.id(one), "--check", "--state", state)
    lines = [generated(i).decode() + "\n" for i in range(1, 601)]
    with recv(mesh[1], other, *options) as sink, \
            send(mesh[0], one, other, "--expect-restart") as source:
        source.type("".join(lines[:300]))
        sink.wait("RECEIVED", 100)
        sink.process.kill()
        sink.process.wait()
        with recv(mesh[1], other, *options) as again:
            source.say("".join(lines[300:]))
            source.succeed(90)
            first = sink.sequences("RECEIVED")
            until("all of it", lambda: again.sequences("RECEIVED")[-1:] == [600])
            second = again.sequences("RECEIVED")
            assert not any("E2E_" in line for line in again.errors)
            assert second == list(range(second[0], 601))
            assert second[0] > first[-1]
    files = list(state.iterdir())
    assert len(files) == 1 and files[0].stat().st_mode & 0o777 == 0o600


def test_restart_without_its_state(mesh, names):
    """What cannot be read any more is named; then all is well again."""
    one, other = names("one", "other")
    with recv(mesh[1], other, Cli.id(one)) as sink, \
            send(mesh[0], one, other, "-i", 0.01, "-c", 100000,
                 "--expect-restart") as source:
        sink.wait("RECEIVED", 20)
        sink.process.kill()
        sink.process.wait()
        with recv(mesh[1], other, Cli.id(one)) as again:
            again.wait("RECEIVED", 50)
            got = again.sequences("RECEIVED")
            assert got == list(range(got[0], got[0] + len(got)))
            assert got[0] > sink.sequences("RECEIVED")[-1]
            assert not any("E2E_BROKEN" in e for e in again.errors)
        source.kill()


def test_deleted_chat_leaves_no_state(mesh, names, tmp_path):
    one, other = names("one", "other")
    state = state_folder(tmp_path / "state")
    with recv(mesh[1], other, Cli.id(one), "--stay") as sink, \
            send(mesh[0], one, other, "-c", 5, "--state", state,
                 "--delete") as source:
        source.succeed()
        sink.exit()
    assert list(state.iterdir()) == []


def test_state_folder_must_be_closed(mesh, names, tmp_path):
    one, other = names("one", "other")
    state = tmp_path / "open"
    state.mkdir()
    state.chmod(0o755)
    for folder, why in ((state, "mode 0700"), (tmp_path / "none", "No such")):
        run = hermes("send", "-n", mesh[0].app, "--seed", one, "--state",
                     folder, "-c", 1, Cli.id(other))
        assert run.returncode == 1 and why in run.stderr, run
