"""What sources pay for: penalties add up, keep a source out and no other,
decay, are bounded, and are shown. Sources are addresses of 127/8."""

import concurrent.futures
import contextlib
import re

import grpc
import pytest

from forward import Forwarder
from h2_attacker import CALM, GONE, PING, Attacker, dial, frame, served
from hermes_node import Node, until
from hermes_wire import Closed, Session, mesh_pb, server_certificate
from mesh_member import Member

GOOD, BAD = "127.0.0.7", "127.0.0.8"


def guarded(lines, limits=""):
    """Nobody is cut for being slow here: that is another limit."""
    return Node("guarded", extra=f"penalty {{\n{lines}\n}}\n"
                f"limits {{ connect timeout 10m {limits} }}\n")


def fail_handshake(node, listener, source):
    with dial(node, listener, source) as sock:
        try:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while sock.recv(4096):
                pass
        except GONE:
            pass


OWNER = {"app": "router", "mesh": "mesh"}  # of a listener


def rows(node):
    return {(r["source"], r["listener"]): r for r in node.show("penalties")}


def kept_out(node, listener):
    return node.metric(f'hermes_sources_kept_out{{listener="{listener}"}}',
                       OWNER[listener])


def refused(node, listener, kind="penalty"):
    return node.metric(f'hermes_rpc_abuse_total{{listener="{listener}",'
                       f'kind="{kind}"}}', OWNER[listener])


@pytest.mark.parametrize("listener", ["app", "mesh"])
def test_failed_handshakes(listener):
    """The third puts the source out, for both to see; another goes on."""
    with guarded("handshake 10m\nthreshold 25m\nlongest 1h") as node:
        with Session(node.app) as honest:
            honest.connect()
            for i in range(3):
                assert served(node, listener, BAD)
                fail_handshake(node, listener, BAD)
                until("counted", lambda: rows(node).get(
                    (BAD + "/32", listener), {}).get("offences") == i + 1)
            assert not served(node, listener, BAD)
            assert served(node, listener, GOOD)
            row = rows(node)[BAD + "/32", listener]
            assert row["kept_out"] and row["refused"] >= 1
            assert 25 * 60 < row["seconds"] <= 30 * 60
            assert kept_out(node, listener) == 1
            assert refused(node, listener) >= 1
            text = node.ctl_run("show", "penalties").stdout
            assert BAD + "/32" in text and listener in text
            assert node.log().count("event=source_kept_out") == 1
            honest.ping()
        assert node.healthy()


def stranger(stack, node, source, certificate):
    """An app that has opened a stream."""
    way = stack.enter_context(Forwarder(source, node.app))
    return stack.enter_context(Session(way.address, certificate=certificate))


def challenged(stack, node, source, certificate):
    """One that has its Challenge; there are only so many a second."""
    def ask():
        one = stranger(stack, node, source, certificate)
        try:
            one.check_challenge()
        except Closed:
            return None
        return one

    return until("a Challenge", ask)


def sign_badly(apps):
    """Connects at a time that are signed wrongly; the status of each call."""
    for one in apps:
        one.send(one.connect_frame(signature=bytes(64)))
    return [one.wait_closed() for one in apps]


def connect_badly(node, source, certificate=None):
    with contextlib.ExitStack() as stack:
        return sign_badly([challenged(stack, node, source, certificate)])


def offences(node, listener, source=BAD):
    return rows(node).get((source + "/32", listener), {}).get("offences", 0)


def test_failed_authentications():
    """Connects of apps, Gossip and Join of nodes; handshakes cost nothing
    here. The failing connection is cut, too."""
    with guarded("handshake 0\nauthentication 10m\nthreshold 15m\n"
                 "longest 1h") as node:
        certificate = server_certificate(node.app)
        assert connect_badly(node, BAD, certificate) == [
            grpc.StatusCode.UNAUTHENTICATED]
        until("counted", lambda: offences(node, "app") == 1)
        assert served(node, "app", BAD)
        connect_badly(node, BAD, certificate)
        until("out", lambda: rows(node)[BAD + "/32", "app"]["kept_out"])
        assert not served(node, "app", BAD)
        assert served(node, "app", GOOD)
        # Each listener keeps its own account.
        assert served(node, "mesh", BAD)
        node.ctl("mesh", "create")
        for call in (gossip, join):
            assert codes_of(node, BAD, call)[0] in (
                grpc.StatusCode.PERMISSION_DENIED,
                grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE)
        until("out", lambda: kept_out(node, "mesh") == 1)
        assert not served(node, "mesh", BAD)
        assert served(node, "mesh", GOOD)
        assert node.healthy()


def codes_of(node, source, call, count=1):
    """What a stranger's calls on one connection, at a time, end with."""
    ticket = node.ctl("ticket", "--ttl", "1h")["ticket"]
    with Forwarder(source, node.mesh) as way, \
            concurrent.futures.ThreadPoolExecutor(count) as pool:
        member = Member("stranger")
        channel = member.channel(*way.address.rsplit(":", 1))
        # What Join has is signed with another's key.
        member.identity = Member("other").identity

        def code(_):
            with pytest.raises(grpc.RpcError) as error:
                call(member, channel, ticket)
            return error.value.code()
        codes = list(pool.map(code, range(count)))
        channel.close()
    return codes


def gossip(member, channel, _):
    list(member.gossip(mesh_pb, channel, iter([mesh_pb.GossipMessage()])))


def join(member, channel, ticket):
    member.join(mesh_pb, channel, ticket)


@pytest.mark.parametrize("listener", ["app", "mesh"])
def test_abuse_is_paid_for(listener):
    with guarded("handshake 0\nabuse 10m\nthreshold 10m") as node:
        with Attacker(node, listener, BAD) as attacker:
            attacker.flood(lambda i: frame(PING, 0, 0, bytes(8)) * 200)
            assert attacker.goaway() == CALM
        until("out", lambda: kept_out(node, listener) == 1)
        assert not served(node, listener, BAD)
        assert served(node, listener, GOOD)


def test_threshold_and_decay():
    """Penalties run out, none is longer than the longest, and 0 keeps
    nobody out."""
    with guarded("handshake 10m\nthreshold 2s\nlongest 10s") as node:
        fail_handshake(node, "app", BAD)
        # What is shown of it is soon over.
        kept = until("out", lambda: re.search(
            rf'source_kept_out from="{BAD}/32" listener=app seconds=(\d+)',
            node.log()))
        assert int(kept[1]) == 10
        until("served again", lambda: served(node, "app", BAD))
        assert rows(node) == {}
        node.config.write_text(node.config.read_text().replace(
            "threshold 2s", "threshold 0"))
        node.ctl("reload")
        for _ in range(3):
            fail_handshake(node, "app", BAD)
        assert served(node, "app", BAD)
        assert rows(node) == {}


def test_table_is_bounded():
    """Who was not heard of for longest is forgotten."""
    with guarded("handshake 10m\nthreshold 10m\nsources 8") as node:
        for i in range(1, 12):
            fail_handshake(node, "app", f"127.0.1.{i}")
            until("counted", lambda: offences(node, "app", f"127.0.1.{i}"))
        assert len(rows(node)) == 8
        assert served(node, "app", "127.0.1.1")
        assert not served(node, "app", "127.0.1.11")
        # Who pays is not pushed out by those who do nothing.
        for i in range(1, 12):
            assert served(node, "app", f"127.0.2.{i}")
        assert not served(node, "app", "127.0.1.11")


def test_exempt():
    """Loopback by default, or what the operator says; a reload tells."""
    with guarded("handshake 10m\nthreshold 10m") as node:
        for _ in range(3):
            fail_handshake(node, "app", "127.0.0.1")
        assert served(node, "app", "127.0.0.1") and rows(node) == {}
        node.config.write_text(node.config.read_text().replace(
            "threshold 10m", "threshold 10m\n"
            'exempt "127.0.0.0/29, 2001:db8::/32"'))
        node.ctl("reload")
        fail_handshake(node, "app", GOOD)
        fail_handshake(node, "app", BAD)
        until("out", lambda: kept_out(node, "app") == 1)
        assert served(node, "app", GOOD) and not served(node, "app", BAD)


def test_unauthenticated_per_source():
    with guarded("handshake 0", "unauthenticated per source 2") as node:
        held = [dial(node, "app", BAD) for _ in range(3)]
        other = dial(node, "app", GOOD)
        assert held[0].recv(1) == b""
        # At once: who says nothing for 10 seconds is cut, too.
        for sock in held[1:] + [other]:
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(1)
        until("counted", lambda: refused(node, "app", "displaced") == 1)
        for sock in held + [other]:
            sock.close()


def test_handshakes_of_a_source():
    """A source that connects too quickly is turned away for a while; it pays
    nothing for it, and no other source does."""
    with guarded("handshake 10m\nthreshold 10m",
                 "handshakes per source 2") as node, \
            concurrent.futures.ThreadPoolExecutor(8) as pool:
        for listener in ("app", "mesh"):
            until("turned away", lambda: not all(pool.map(
                lambda _: served(node, listener, BAD), range(8))))
            assert served(node, listener, GOOD)
            assert refused(node, listener, "handshakes") >= 1
            assert rows(node) == {}
            until("served again", lambda: served(node, listener, BAD))


def taken_on(sock):
    """It sent what is no TLS: the node ends it once it has looked."""
    sock.setblocking(False)
    try:
        sock.recv(1)
    except BlockingIOError:
        return False
    except GONE:
        pass
    return True


@pytest.mark.parametrize("listener", ["app", "mesh"])
def test_handshakes_in_all(listener):
    """More than so many a second wait their turn, exempt or not; nobody is
    refused."""
    with guarded("handshake 0", "handshakes 5") as node:
        some = [dial(node, listener) for _ in range(150)]
        for sock in some:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        until("one came in", lambda: taken_on(some[0]))
        assert not taken_on(some[-1])
        node.config.write_text(node.config.read_text().replace(
            "handshakes 5", "handshakes 0"))
        node.ctl("reload")
        for sock in some[1:]:
            until("all came in", lambda: taken_on(sock))
            sock.close()
        assert refused(node, listener, "handshakes") == 0


def too_many(node, source, count):
    """Of count Connects at a time, how many were not looked at."""
    certificate = server_certificate(node.app)
    with contextlib.ExitStack() as stack:
        apps = [challenged(stack, node, source, certificate)
                for _ in range(count)]
        before = refused(node, "app", "verification")
        codes = sign_badly(apps)
    few = codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert few == refused(node, "app", "verification") - before
    return few


def test_verifications_of_a_source():
    """No more signatures of a source are looked at than it may send; those
    of another are."""
    with guarded("handshake 0\nauthentication 0",
                 "verifications per source 1") as node:
        until("too many", lambda: too_many(node, BAD, 5) > 0)
        assert connect_badly(node, GOOD) == [
            grpc.StatusCode.UNAUTHENTICATED]


@pytest.mark.parametrize("limit, source", [
    ("verifications per source 1", BAD), ("verifications 1", "127.0.0.1")])
def test_challenges(limit, source):
    """Nor are more Challenges signed for those who say nothing."""
    with guarded("handshake 0\nauthentication 0", limit) as node:
        certificate = server_certificate(node.app)

        def refused_one():
            with contextlib.ExitStack() as stack:
                one = stranger(stack, node, source, certificate)
                try:
                    one.check_challenge()
                    return False
                except Closed as closed:
                    return closed.code == grpc.StatusCode.RESOURCE_EXHAUSTED

        before = refused(node, "app", "verification")
        until("too many", refused_one)
        assert refused(node, "app", "verification") > before
        if source == BAD:
            assert connect_badly(node, GOOD, certificate) == [
                grpc.StatusCode.UNAUTHENTICATED]


def test_verifications_in_all():
    """Exempt or not."""
    with guarded("handshake 0\nauthentication 0", "verifications 1") as node:
        until("too many", lambda: too_many(node, "127.0.0.1", 5) > 0)


@pytest.mark.parametrize("call", [gossip, join])
@pytest.mark.parametrize("limit, source", [
    ("verifications per source 4", BAD), ("verifications 4", "127.0.0.1")])
def test_verifications_of_nodes(call, limit, source):
    """The same of what strangers say to a node: their certificates, Join and
    Gossip. Here 10 calls of a connection are too many at once."""
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    with guarded("handshake 0\nauthentication 0", limit) as node:
        node.ctl("mesh", "create")
        before = refused(node, "mesh", "verification")
        until("too many", lambda: exhausted in
              codes_of(node, source, call, 10))
        assert refused(node, "mesh", "verification") > before
        if source == BAD:
            assert codes_of(node, GOOD, call)[0] in (
                grpc.StatusCode.PERMISSION_DENIED,
                grpc.StatusCode.UNAUTHENTICATED)
