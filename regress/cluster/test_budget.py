"""What one member may have of a node's time: floods of statements, of large
ones and of set-ups keep nobody's chats, are counted, and take no memory; who
says much and means it is not held up."""

import contextlib
import itertools
import os
import queue
import signal
import struct
import threading

import grpc
import pytest

from hermes_node import Mesh, until
from hermes_wire import Identity, Session, mesh_pb, pair
from mallory import Mallory, Route, attestation, handle
from mesh_member import Member, now_nanos

APPS = 8000       # in one sync
MORE = 2000       # told one by one
MEMORY = 64 << 20  # what a flood may take of a process
NUMBERS = itertools.count(1)


class Gossip:
    """A stream of it that a test writes on."""

    def __init__(self, channel):
        self.frames = queue.Queue(8)
        self.call = Member.gossip(mesh_pb, channel,
                                  iter(self.frames.get, None))
        self.over = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for _ in self.call:
                pass
        except grpc.RpcError:
            pass
        self.over = True

    def say(self, **body):
        """As soon as there is room; False when the stream is over."""
        return self.put(mesh_pb.GossipMessage(**body))

    def put(self, message):
        """The same of a message that is made, or encoded."""
        while not self.over:
            try:
                self.frames.put(message, timeout=1)
                return True
            except queue.Full:
                pass
        return False

    def close(self):
        self.call.cancel()
        until("the stream is over", lambda: self.over)
        while not self.frames.empty():
            self.frames.get()
        self.frames.put(None)


@pytest.fixture(name="lied_to", scope="module")
def fixture_lied_to():
    with Mesh(2) as two:
        yield two
        for node in two.nodes:
            assert node.healthy(), node.log()[-4000:]


@pytest.fixture(name="mallory")
def fixture_mallory(lied_to):
    one = Mallory(lied_to, f"mallory{next(NUMBERS)}")
    stream = Gossip(one.to[0])
    stream.say(membership=mesh_pb.MembershipEvent(
        type=5, node=one.member.descriptor(mesh_pb),
        incarnation=one.member.incarnation))
    until("known", lambda: row(
        lied_to[0], one.member.node_id))
    yield one
    stream.close()
    one.close()


@pytest.fixture(name="chat")
def fixture_chat(lied_to):
    """A message each way, whenever it is asked."""
    name = f"budget-{next(NUMBERS)}"
    a, b, _, _ = pair(lied_to[0].app, lied_to[1].app, name)
    count = itertools.count(1)

    def goes_on():
        n = next(count)
        for one, two in ((a, b), (b, a)):
            one.message(name, n, b"still")
            assert two.received(name) == (n, b"still")
            one.acked(name, n)
    goes_on()
    yield goes_on
    goes_on()
    a.close()
    b.close()


def row(node, name):
    return next((r for r in node.show("nodes") if r["node_id"] == name), {})


def held(node, process):
    return node.metric(f'hermes_mesh_held_total{{process="{process}"}}')


def memory(node, process):
    with open(f"/proc/{node.pids()[process]}/statm",
              encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def registrations(member, count):
    """Apps of a member that there are."""
    out = []
    for _ in range(count):
        app = Identity()
        out.append(mesh_pb.AppRegistration(
            app_id=app.id, node_id=member.node_id, session_id="0" * 32,
            connected_at_nanos=now_nanos(), sequence=1,
            attestation=attestation(app, member.node_key, member.node_id)))
    return out


def forge(mallory, count):
    """So many statements that nobody signed, each the end of a stream."""
    forged = mallory.member.descriptor(mesh_pb)
    forged.incarnation = 10**6
    for _ in range(count):
        stream = Gossip(mallory.to[0])
        stream.say(membership=mesh_pb.MembershipEvent(
            type=5, node=forged, incarnation=10**6))
        until("refused", lambda: stream.over)


def test_forged_statements(lied_to, mallory, chat):
    """Some are an error; then the connection is cut."""
    node, member = lied_to[0], mallory.member
    before = node.metric("hermes_mesh_cut_total")
    forge(mallory, 32)
    assert node.metric("hermes_mesh_cut_total") == before
    chat()
    for _ in range(400):
        forge(mallory, 1)
        if node.metric("hermes_mesh_cut_total") > before:
            break
    assert row(node, member.node_id)["bad_signatures"] >= 32
    assert node.metric('hermes_rpc_abuse_total{listener="mesh",'
                       'kind="signature"}') >= 1
    assert "event=member_cut" in node.log()
    chat()


@contextlib.contextmanager
def preferred(node, process):
    """A process that gets the CPU before others: more than a quarter of a core
    cannot be wanted where load leaves less than that."""
    pid = node.pids()[process]
    usual = os.getpriority(os.PRIO_PROCESS, pid)
    os.setpriority(os.PRIO_PROCESS, pid, -20)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, pid, usual)


def test_large_syncs(lied_to, mallory, chat):
    """That are no news, as fast as they can be read."""
    node, member = lied_to[0], mallory.member
    stream = Gossip(mallory.to[0])
    sync = member.app_sync(mesh_pb, registrations(member, 2000), full=True)
    taken = memory(node, "mesh")
    sync.apps.extend(list(sync.apps) * 3)  # signed no more, and told before
    sync.sequence -= 1
    forge(mallory, 32)  # little of its time is left
    encoded = mesh_pb.GossipMessage(app_sync=sync).SerializeToString()
    before = held(node, "mesh")
    with preferred(node, "mesh"):
        while held(node, "mesh") == before:
            for _ in range(8):
                assert stream.put(encoded)
            chat()
    for _ in range(8):
        assert stream.put(encoded)
    for _ in range(8):
        chat()
    assert memory(node, "mesh") < taken + MEMORY
    found = row(node, member.node_id)
    assert found["held"] >= 1 and found["bad_signatures"] == 32
    assert row(node, "beta")["held"] == 0
    stream.close()


@contextlib.contextmanager
def stopped(node, process):
    """A process that does nothing meanwhile."""
    pid = node.pids()[process]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def offer_of(mallory, node_key, app, target, name):
    """A SetupTieline of mallory's app, its offer signed by nobody."""
    member = mallory.member
    low, high = sorted((app.public, target.public))
    ours = member.node_key
    first = app.public == low
    offer = (b"hermes-offer-v2" + handle(name, app, target) +
             struct.pack(">IIB", 1, 0, not first) + low + high +
             (ours + node_key if first else node_key + ours) +
             os.urandom(32) + bytes(32) + bytes(32) + bytes(8 + 16) +
             os.urandom(64))
    return mesh_pb.SetupTieline(
        chat_id=name, source_app_id=app.id, target_app_id=target.id,
        source_node_id=member.node_id, source_public_key=ours,
        key_version=1, offer=offer, resume=mesh_pb.Resume())


def test_set_ups(lied_to, mallory, chat):
    """That keyd has to look at: it is not mallory's alone."""
    node, member = lied_to[0], mallory.member
    app, target = Identity(), Identity()
    stream = Gossip(mallory.to[0])
    one = mesh_pb.AppRegistration(
        app_id=app.id, node_id=member.node_id, session_id="0" * 32,
        connected_at_nanos=now_nanos(), sequence=1,
        attestation=attestation(app, member.node_key, member.node_id))
    stream.say(app_sync=member.app_sync(mesh_pb, [one], full=True))
    until("its app is known",
          lambda: row(node, member.node_id)["apps"] == 1)
    with Session(node.app, target) as here:
        here.connect()
        key = here.challenge.node_public_key
        route = Route(mallory.to[0])
        taken = memory(node, "mesh")
        numbers = itertools.count(1)

        def waits():
            return row(node, member.node_id)["held"] > 0

        def flood(count):
            """Until all are on their way, or it waits."""
            for number in itertools.islice(numbers, count):
                route.say(setup_tieline=offer_of(
                    mallory, key, app, target, f"flood-{number}"))
            until("said", lambda: route.frames.empty() or waits())

        for _ in range(20):
            flood(4000)
            chat()
            # Only who keeps keyd from others waits: it is behind now.
            with stopped(node, "keyd"):
                flood(3000)
                # What was said has yet to be read.
                if any(waits() for _ in range(100)):
                    break
        assert waits()
        for _ in range(8):
            chat()
        here.ping()
        assert held(node, "keyd") >= 1
        assert memory(node, "mesh") < taken + MEMORY
        assert row(node, "beta")["held"] == 0
        route.close()
    stream.close()


def test_many_apps_come_back(lied_to, mallory, chat):
    """10,000 of a node, most at once and others one by one."""
    node, member = lied_to[0], mallory.member
    stream = Gossip(mallory.to[0])
    apps = registrations(member, APPS + MORE)
    before = held(node, "mesh")
    stream.say(app_sync=member.app_sync(mesh_pb, apps[:APPS], full=True))
    for app in apps[APPS:]:
        stream.say(app_sync=member.app_sync(mesh_pb, [app]))
    until("all are there",
          lambda: row(node, member.node_id)["apps"] == APPS + MORE)
    assert held(node, "mesh") == before
    assert row(node, member.node_id)["held"] == 0
    assert row(node, member.node_id)["bad_signatures"] == 0
    chat()
    stream.close()
