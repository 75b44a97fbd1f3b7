"""Who gets into a mesh, how long, and who not any more: tickets, renewal of
memberships, revocation, on real nodes and by real clocks."""

import re
import subprocess
import time

import pytest

from hermes_cli import Cli
from hermes_node import Mesh, Node, free_ports, until, wait_alive
from mesh_member import parse_ticket
from test_kill import LONG, Talk, no_keys_left


@pytest.fixture
def nodes():
    """Makes running nodes by name; ends them."""
    made = []

    def make(*names, extra=""):
        new = [Node(name, extra=extra).spawn() for name in names]
        made.extend(new)
        for node in new:
            node.wait_ready()
        return new
    yield make
    for node in made:
        node.destroy()


def state(node, name):
    """What node says of the node called name; None when it knows none."""
    return next((row["state"] for row in node.show("nodes")
                 if row["node_id"] == name), None)


def ticket(node, *arguments):
    return node.ctl("ticket", *arguments)["ticket"]


def ticket_of(node, count):
    """One that names so many nodes. On a busy machine one may be suspected
    for a moment, and is left out then."""
    def made():
        if sum(row["state"] == "alive" for row in node.show("nodes")) == count:
            text = ticket(node)
            return len(parse_ticket(text)[1]) == count and text
    return until(f"a ticket names {count} nodes", made)


def refused(node, text):
    """hermesctl join fails; its message."""
    answer = node.ctl("join", text, ok=False)
    assert not answer["ok"]
    return answer["message"]


# --- tickets ---------------------------------------------------------------

def test_ticket_of_several_uses(nodes):
    alpha, beta, gamma, delta = nodes("alpha", "beta", "gamma", "delta")
    alpha.ctl("mesh", "create")
    text = ticket(alpha, "--uses", 2)
    row, = alpha.ctl("ticket", "list")["tickets"]
    assert (row["uses"], row["uses_left"]) == (2, 2)
    assert row["created_at"] < row["expires_at"]
    beta.ctl("join", text)
    gamma.ctl("join", text)
    assert alpha.show("tickets")[0]["uses_left"] == 0
    assert "used up" in refused(delta, text)
    for node in (alpha, beta, gamma):
        wait_alive(node, 3)


def test_ticket_expires(nodes):
    alpha, beta = nodes("alpha", "beta")
    alpha.ctl("mesh", "create")
    text = ticket(alpha, "--ttl", "1s")
    until("expired", lambda: "expired" in
          beta.ctl("join", text, ok=False).get("message", ""))
    assert alpha.show("tickets") == []


def test_ticket_list_and_revoke(nodes):
    """The list names tickets and shows none; a revoked one is void."""
    alpha, beta = nodes("alpha", "beta")
    alpha.ctl("mesh", "create")
    one, two = ticket(alpha), ticket(alpha, "--uses", 7, "--ttl", "2d")
    rows = alpha.ctl("ticket", "list")["tickets"]
    assert sorted(row["uses"] for row in rows) == [1, 7]
    first = next(row["ticket_id"] for row in rows if row["uses"] == 1)
    assert re.fullmatch("[0-9a-f]{12}", first)
    table = alpha.ctl_run("ticket", "list").stdout
    assert table.splitlines()[0].split()[0] == "TICKET" and first in table
    for text in (one, two):
        secret = parse_ticket(text)[0].hex()
        assert secret not in table and secret[:12] not in str(rows)
    assert alpha.ctl_run("ticket", "revoke", first).stdout == \
        "ticket revoked\n"
    assert alpha.ctl("ticket", "revoke", first, ok=False)["message"] == \
        "no such ticket: hermesctl ticket list"
    assert not alpha.ctl("ticket", "revoke", "xyz", ok=False)["ok"]
    assert "unknown" in refused(beta, one)
    # Over a restart too.
    alpha.sigkill()
    alpha.start()
    assert [row["uses"] for row in alpha.show("tickets")] == [7]
    beta.ctl("join", two)
    # A member that is not the authority has and makes none.
    assert beta.show("tickets") == []
    assert "only the node that created" in beta.ctl(
        "ticket", ok=False)["message"]


def test_ticket_names_members_that_are_alive(nodes):
    """The authority first, then who answers; who failed is left out."""
    alpha, beta, gamma = nodes("alpha", "beta", "gamma")
    alpha.ctl("mesh", "create")
    for node in (beta, gamma):
        node.ctl("join", ticket(alpha))
    for node in (alpha, beta, gamma):
        wait_alive(node, 3)
    _, endpoints = parse_ticket(ticket_of(alpha, 3))
    names = [endpoint for _, endpoint in endpoints]
    assert names[0] == alpha.mesh
    assert sorted(names) == sorted((alpha.mesh, beta.mesh, gamma.mesh))
    gamma.sigkill()
    until("gamma failed", lambda: state(alpha, "gamma") == "failed")
    _, endpoints = parse_ticket(ticket_of(alpha, 2))
    assert [endpoint for _, endpoint in endpoints] == [alpha.mesh, beta.mesh]


def move(node):
    """Give a stopped node another port for the mesh."""
    port, = free_ports(1)
    old = node.mesh.rsplit(":", 1)[1]
    text = node.config.read_text()
    assert text.count(f"port {old}") == 1
    node.config.write_text(text.replace(f"port {old}", f"port {port}"))
    node.mesh = f"127.0.0.1:{port}"


def test_join_through_a_member_that_is_not_the_authority(nodes):
    """The authority has moved since the ticket was made: the member that
    the ticket names too says where to."""
    alpha, beta, gamma = nodes("alpha", "beta", "gamma")
    alpha.ctl("mesh", "create")
    beta.ctl("join", ticket(alpha))
    for node in (alpha, beta):
        wait_alive(node, 2)
    text = ticket_of(alpha, 2)
    assert alpha.stop() == 0
    move(alpha)
    alpha.start()
    until("beta knows where alpha is", lambda: any(
        row["endpoint"] == alpha.mesh and row["state"] == "alive"
        for row in beta.show("nodes")))
    gamma.ctl("join", text)
    assert "join_referred to=alpha" in beta.log()
    for node in (alpha, beta, gamma):
        wait_alive(node, 3)


def test_join_while_the_authority_is_away(nodes):
    """Nobody else certifies; the message says so, the ticket stays good."""
    alpha, beta, gamma = nodes("alpha", "beta", "gamma")
    alpha.ctl("mesh", "create")
    beta.ctl("join", ticket(alpha))
    for node in (alpha, beta):
        wait_alive(node, 2)
    text = ticket(alpha)
    alpha.sigkill()
    until("alpha failed", lambda: state(beta, "alpha") == "failed")
    assert "does not hold the mesh key" in refused(gamma, text)
    alpha.start()
    gamma.ctl("join", text)


def test_name_conflicts_are_refused(nodes):
    """A name belongs to the first key that has it, the authority's too."""
    alpha, beta = nodes("alpha", "beta")
    twin, echo = Node("beta").start(), Node("alpha").start()
    try:
        alpha.ctl("mesh", "create")
        beta.ctl("join", ticket(alpha))
        text = ticket(alpha)
        for node in (twin, echo):
            assert "has this node's name" in refused(node, text)
        assert sum(row["uses_left"] for row in alpha.show("tickets")) == 1
    finally:
        twin.destroy()
        echo.destroy()


# --- renewal ---------------------------------------------------------------

def membership(node):
    return node.ctl("show")["summary"]["certificate_not_after"]


def test_memberships_are_renewed_under_a_chat():
    """Lifetimes of 20 s, a chat for longer: several renewals of both nodes,
    every message once, no chat interrupted."""
    with Mesh(2, extra="mesh { membership lifetime 20s }\n") as two:
        seen = [set(), set()]

        def renewals():
            for node, times in zip(two.nodes, seen):
                times.add(membership(node))
                assert "expired" not in map(
                    lambda row: row["state"], node.show("nodes"))
            return min(len(times) for times in seen)
        with Talk(two, "renewal", 1500, ("--interval", "0.02")) as talk:
            until("3 renewals", lambda: renewals() >= 4, 120)
            anna, bert = talk.finish()
        assert anna["resent"] == bert["resent"] == 0
        for node in two.nodes:
            assert node.healthy()
            wait_alive(node, 2)
            # A busy machine may make one suspect the other, and no more.
            assert not re.search(r"node_state .* state=(?!alive|suspect)", node.log())
        assert two[0].log().count("node_renewed node=beta") >= 3
        no_keys_left(two)


def test_expired_membership(nodes):
    """Nobody renewed it: out, said clearly, in again with a ticket."""
    alpha, beta, gamma = nodes(
        "alpha", "beta", "gamma", extra="mesh { membership lifetime 10s }\n")
    alpha.ctl("mesh", "create")
    for node in (beta, gamma):
        node.ctl("join", ticket(alpha))
    for node in (alpha, beta, gamma):
        wait_alive(node, 3)
    alpha.sigkill()
    for node in (beta, gamma):
        until("expired", lambda: state(node, node.name) == "expired")
        status, body = node.http("/readyz")
        assert status == 503 and "membership expired" in body
        assert "membership expired" in node.ctl(
            "status", ok=False)["reasons"]
        until("said", lambda: "membership_expired" in node.log())
    until("beta and gamma part", lambda: state(beta, "gamma") == "expired")
    alpha.start()
    for node in (beta, gamma):
        assert state(alpha, node.name) != "alive"
        node.ctl("join", ticket(alpha))
    for node in (alpha, beta, gamma):
        wait_alive(node, 3)
        node.wait_ready()


def test_tls_keys_are_replaced_under_a_chat():
    """New certificates at both listeners; no session dropped; new
    connections of apps and nodes work, also after a restart."""
    with Mesh(2) as two:
        with Talk(two, "tls", 500) as talk:
            talk.under_way(10)
            for node in two.nodes:
                old = node.ctl("show", "certificate")["certificate"]
                assert "new TLS keys" in node.ctl("rekey", "tls")["message"]
                until("another certificate", lambda: node.ctl(
                    "show", "certificate")["certificate"] != old)
            anna, bert = talk.finish()
            assert talk.anna.count("DISCONNECTED") == 0
            assert talk.bert.count("DISCONNECTED") == 0
            assert anna["resent"] == bert["resent"] == 0
        now = two[1].ctl("show", "certificate")["certificate"]
        two[1].sigkill()
        two[1].start()
        assert two[1].ctl("show", "certificate")["certificate"] == now
        for node in two.nodes:
            wait_alive(node, 2)
        with Talk(two, "after", 20) as talk:
            talk.finish()


# --- revocation ------------------------------------------------------------

def chat(mesh, name, sender, receiver):
    """A chat that stays: both ends, ready."""
    bert = Cli("recv", mesh[receiver].app, f"{name}-b", "--chat", name,
               "--stay", Cli.id(f"{name}-a"))
    anna = Cli("send", mesh[sender].app, f"{name}-a", "--chat", name,
               "--count", 100000, "--interval", "0.05", Cli.id(f"{name}-b"))
    anna.wait("ACKED", 3)
    return anna, bert


def test_revoked_node_is_out():
    """Live connections are cut, chats with it end `revoked`, others go on;
    every node keeps it over a restart, and no ticket helps."""
    with Mesh(3) as three:
        alpha, beta, gamma = three.nodes
        text = ticket(alpha, "--uses", 5)
        with Talk(three, "others", 300) as talk:
            ends = [chat(three, "one", 0, 2), chat(three, "two", 1, 2)]
            assert not beta.ctl("mesh", "revoke", "gamma", ok=False)["ok"]
            alpha.ctl("mesh", "revoke", "gamma")
            for anna, _ in ends:
                anna.wait("DELETED revoked")
            for node in (alpha, beta):
                until("gamma is revoked",
                      lambda: state(node, "gamma") == "revoked")
                until("its chats are erased", lambda: not any(
                    row["remote_node_id"] == "gamma"
                    for row in node.show("chats")))
            talk.finish()
            for pair in ends:
                for cli in pair:
                    cli.kill()
        # Every node remembers it by itself.
        for node, other in ((beta, alpha), (alpha, beta)):
            node.sigkill()
        # Alone it is not ready for long.
        beta.spawn()
        until("beta is up", lambda: beta.http("/healthz")[0] == 200)
        until("gamma is revoked", lambda: state(beta, "gamma") == "revoked")
        alpha.start()
        assert state(alpha, "gamma") == "revoked"
        for node in (alpha, beta):
            wait_alive(node, 2)
        seen = {row["node_id"]: row["last_seen_seconds"]
                for row in alpha.show("nodes")}
        assert seen["beta"] is not None
        assert seen["alpha"] is seen["gamma"] is None
        # It cannot come back: not with a new ticket, not with a new start.
        # And hears why.
        until("gamma knows", lambda: "membership revoked" in
              gamma.http("/readyz")[1])
        assert "event=revoked " in gamma.log()
        for again in (text, ticket(alpha)):
            assert not gamma.ctl("join", again, ok=False)["ok"]
        assert gamma.stop() == 0
        gamma.spawn()
        until("gamma has tried", lambda: gamma.http("/healthz")[0] == 200)
        until("gamma knows it still", lambda: "membership revoked" in
              gamma.http("/readyz")[1])
        for node in (alpha, beta):
            assert state(node, "gamma") == "revoked"


def test_name_of_a_revoked_node_goes_to_the_one_in_its_place():
    """A dead node replaced: revoke it, and a new machine has its name. The
    old key stays out everywhere, also after restarts; the new one chats."""
    with Mesh(3) as three:
        alpha, beta, gamma = three.nodes
        gamma.sigkill()
        twin = Node("gamma").start()
        try:
            text = ticket(alpha)
            assert "has this node's name" in refused(twin, text)
            alpha.ctl("mesh", "revoke", "gamma")
            twin.ctl("join", text)
            for node in (alpha, beta, twin):
                wait_alive(node, 3)
            gamma.spawn()
            until("the old gamma, away until now, knows", lambda:
                  "membership revoked" in gamma.http("/readyz")[1])
            assert not gamma.ctl("join", ticket(alpha), ok=False)["ok"]
            for node in (alpha, beta):
                node.sigkill()
                node.start()
            for node in (alpha, beta):
                wait_alive(node, 3)
                rows = {row["node_key"]: row["state"] for row in
                        node.show("nodes") if row["node_id"] == "gamma"}
                assert sorted(rows.values()) == ["alive", "revoked"]
                own = twin.ctl("show")["summary"]["node_key"]
                assert rows[own] == "alive"
            three.nodes.append(twin)
            with Talk([beta, twin], "twin", 50) as talk:
                talk.finish()
            # The new one can be revoked as the old one was.
            alpha.ctl("mesh", "revoke", "gamma")
            until("revoked too", lambda: [
                row["state"] for row in beta.show("nodes")
                if row["node_id"] == "gamma"] == ["revoked"] * 2)
        finally:
            twin.destroy()
