"""What a node keeps of messages, for all apps together: who has most is told
BACKPRESSURE, who has little goes on, and nothing that was taken is lost."""

import contextlib

from hermes_node import Node, until
from hermes_wire import Session, pair

KEPT = 4 << 20
SIZE = 16384
CHATS = 6  # of each greedy app, whose windows alone are more than is kept
LIMITS = "limits { kept messages 4M  messages per second 0 }\n"


class Greedy:
    """An app with chats whose peers are away, and never enough of them."""

    def __init__(self, node, stack, name):
        self.node = node
        self.chats = [f"{name}-{i}" for i in range(CHATS)]
        self.peers = {}
        self.taken = dict.fromkeys(self.chats, 0)
        self.app = stack.enter_context(Session(node.app))
        self.app.connect()
        for chat in self.chats:
            with Session(node.app) as peer:
                peer.connect()
                self.app.start(chat, peer.identity)
                peer.start(chat, self.app.identity)
                self.app.wait_ready(chat)
                peer.wait_ready(chat)
                self.peers[chat] = peer.identity
            self.app.wait("chat_status", lambda s, c=chat: (
                s.chat_id == c and s.status == "peer_away"))

    def fill(self):
        """Until every chat had enough."""
        for chat in self.chats:
            for sequence in range(1, 1 + KEPT // SIZE):
                self.app.message(chat, sequence, bytes(SIZE))
            error = self.app.error(
                "BACKPRESSURE", lambda e, c=chat: e.chat_id == c)
            self.taken[chat] = error.expected_sequence - 1
            self.app.ping()

    def kept(self):
        return next(r["kept_bytes"] for r in self.node.show("sessions")
                    if r["app_id"] == self.app.identity.id)

    def empty(self):
        """The peers come back, and all that was taken arrives."""
        for chat, identity in self.peers.items():
            with Session(self.node.app, identity) as peer:
                peer.connect()
                peer.start(chat, self.app.identity, resume=True)
                peer.wait_ready(chat)
                for sequence in range(1, self.taken[chat] + 1):
                    assert peer.received(chat) == (sequence, bytes(SIZE))
                    self.app.acked(chat, sequence)


def test_many_chats_of_few():
    with Node("kept", extra=LIMITS) as node, contextlib.ExitStack() as stack:
        a, b, _, _ = pair(node.app, node.app, "modest")
        first = Greedy(node, stack, "first")
        first.fill()
        assert KEPT / 4 < first.kept() <= KEPT / 2 + SIZE
        second = Greedy(node, stack, "second")
        second.fill()
        # What is left is never all gone, and always the largest that wait.
        assert KEPT / 8 < second.kept() <= first.kept()
        total = node.metric("hermes_messages_kept_bytes")
        assert first.kept() + second.kept() <= total <= KEPT
        assert node.metric(
            'hermes_messages_not_kept_total{direction="out"}') >= 2
        for sequence in range(1, 200):
            a.message("modest", sequence, bytes(SIZE))
            assert b.received("modest") == (sequence, bytes(SIZE))
            a.acked("modest", sequence)
        assert a.none("error") and b.none("error")
        first.empty()
        second.empty()
        until("nothing is kept", lambda: node.metric(
            "hermes_messages_kept_bytes") == 0)
        assert node.healthy()
        a.close()
        b.close()
