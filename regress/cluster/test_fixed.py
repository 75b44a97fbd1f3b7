"""Fixed installations: nodes that know each other by `peer` lines of
hermesd.conf(5) instead of tickets, on real nodes, reload included."""

import re

from hermes_node import Node, until, wait_alive
from test_admission import move, nodes, state, ticket  # noqa: F401


def key(node):
    return node.ctl("show")["summary"]["node_key"]


def line(node, name=None, address=None, other=None):
    """The peer line that names node."""
    return (f'peer "{name or node.name}" address {address or node.mesh} '
            f"key {other or key(node)}\n")


def know(node, *lines):
    """Give node these peer lines and no others, and have it read them."""
    text = re.sub(r"(?m)^peer .*\n", "", node.config.read_text())
    node.config.write_text(text + "".join(lines))
    if node.process.poll() is None:
        node.ctl("reload")


def in_mesh(node):
    return node.ctl("show")["summary"]["in_mesh"]


def joins(node, why):
    """How often it tried to join and was told so."""
    return len(re.findall(rf'join ok=0 peers=1 why=".*{why}', node.log()))


def test_peer_lines_instead_of_tickets(nodes):  # noqa: F811
    """The authority lists both; beta lists it, gamma only beta, which sends
    it on. No ticket is made, and a restart changes nothing."""
    alpha, beta, gamma = nodes("alpha", "beta", "gamma")
    know(beta, line(alpha))
    know(gamma, line(beta))
    until("nobody is in a mesh yet", lambda: joins(beta, "in no mesh"))
    alpha.ctl("mesh", "create")
    until("alpha does not list beta", lambda: joins(beta, "no peer line"))
    assert not in_mesh(beta) and not in_mesh(gamma)
    know(alpha, line(beta), line(gamma))
    for node in (alpha, beta, gamma):
        wait_alive(node, 3)
    assert alpha.show("tickets") == []
    assert "join_referred to=alpha" in beta.log()
    for node in (beta, gamma):
        node.sigkill()
        node.start()
    for node in (alpha, beta, gamma):
        wait_alive(node, 3)
    # Who is taken out of the file stays a member; revoking is another thing.
    know(alpha)
    alpha.ctl("mesh", "revoke", "gamma")
    until("gamma is out", lambda: state(beta, "gamma") == "revoked")
    wait_alive(alpha, 2)


def test_what_a_peer_line_does_not_admit(nodes):  # noqa: F811
    """Another key under a listed name, a listed key under another name, a
    revoked key, a name that is taken; and a peer that has another key than
    the line says is not asked at all."""
    alpha, beta, gamma = nodes("alpha", "beta", "gamma")
    alpha.ctl("mesh", "create")
    know(alpha, line(beta, other=key(gamma)))
    know(beta, line(alpha))
    until("not that key", lambda: joins(beta, "no peer line"))
    know(alpha, line(beta, name="delta"))
    before = joins(beta, "no peer line")
    know(beta, line(alpha))
    until("not that name", lambda: joins(beta, "no peer line") > before)
    know(alpha, line(beta))
    wait_alive(beta, 2)
    # The line names beta's key; whoever is there now, it is not beta.
    know(gamma, line(beta, address=alpha.mesh))
    until("another key", lambda: "trunk_stranger" in gamma.log())
    assert not in_mesh(gamma)
    alpha.ctl("mesh", "revoke", "beta")
    know(alpha, line(gamma, name="beta"), line(beta, name="gamma"))
    know(gamma, line(alpha))
    until("its own name counts", lambda: joins(gamma, "no peer line"))
    know(alpha, line(beta), line(gamma))
    wait_alive(gamma, 2)
    know(beta, line(alpha))
    until("beta stays out", lambda: "no mesh member reachable" in
          beta.http("/readyz")[1])
    assert state(alpha, "beta") == "revoked"
    assert alpha.metric("hermes_mesh_join_success_total") == 2


def test_a_ticket_goes_before_peer_lines(nodes):  # noqa: F811
    """While the lines lead nowhere, hermesctl join is not kept waiting."""
    alpha, beta = nodes("alpha", "beta")
    alpha.ctl("mesh", "create")
    know(beta, line(alpha))
    until("it tries", lambda: joins(beta, "no peer line"))
    beta.ctl("join", ticket(alpha))
    wait_alive(beta, 2)


def test_expired_membership_comes_back_by_its_line(nodes):  # noqa: F811
    alpha, beta = nodes(
        "alpha", "beta", extra="mesh { membership lifetime 10s }\n")
    alpha.ctl("mesh", "create")
    know(alpha, line(beta))
    know(beta, line(alpha))
    for node in (alpha, beta):
        wait_alive(node, 2)
    beta.sigkill()
    until("expired", lambda: state(alpha, "beta") == "expired")
    beta.start()
    for node in (alpha, beta):
        wait_alive(node, 2)


def test_addresses_of_peer_lines_are_followed(nodes):  # noqa: F811
    """Both have moved while both were down: only beta's file knows where
    alpha is now. And once more by a reload."""
    alpha, beta = nodes("alpha", "beta")
    alpha.ctl("mesh", "create")
    know(alpha, line(beta))
    know(beta, line(alpha))
    wait_alive(beta, 2)
    own = key(alpha)
    for node in (alpha, beta):
        node.sigkill()
        move(node)
    know(beta, line(alpha, other=own))
    alpha.spawn()
    beta.start()
    for node in (alpha, beta):
        wait_alive(node, 2)
    for node in (alpha, beta):
        node.sigkill()
        move(node)
    alpha.spawn()
    beta.spawn()
    until("beta is up, and alone",
          lambda: beta.http("/healthz")[0] == 200 and
          state(beta, "alpha") == "failed")
    know(beta, line(alpha, other=own))
    for node in (alpha, beta):
        wait_alive(node, 2)


def test_a_bad_line_leaves_the_old_ones():
    with Node("alpha") as alpha:
        text = alpha.config.read_text()
        for words, says in (
                ("peer UP address h:1 key " + "0" * 64, "no node name"),
                ("peer b address h key " + "0" * 64, "is not host:port"),
                ("peer b address h:1 key 12", "the 64 hexadecimal digits"),
                ("peer b address h:1", "expected peer VALUE")):
            alpha.config.write_text(text + words + "\n")
            answer = alpha.ctl("reload", ok=False)
            assert says in answer["message"], answer
        assert alpha.healthy()
