"""Where nodes are: IPv6, IPv4 and both in one mesh, host names that are looked
up again when a connection fails, names with an address that is no good. Root,
for a name server that one node alone asks."""

import json
import re
import subprocess

import pytest

from hermes_node import Node, free_ports, join, until, wait_alive
from name_server import NameServer
from test_fixed import key, know, line
from test_kill import Talk

V6 = "[::1]"


def addresses(host):
    """App and mesh on host, admin where tests look for it."""
    app, mesh, admin = free_ports(3)
    return f"{host}:{app}", f"{host}:{mesh}", f"127.0.0.1:{admin}"


@pytest.fixture
def place():
    """Makes nodes that are not running yet; ends them."""
    made = []

    def make(name, host="127.0.0.1", extra=""):
        made.append(Node(name, addresses=addresses(host), extra=extra))
        return made[-1]
    yield make
    for node in made:
        node.destroy()


def endpoints(node):
    return {row["node_id"]: row["endpoint"] for row in node.show("nodes")}


def test_ipv6_and_ipv4_in_one_mesh(place):
    """alpha and beta serve apps and nodes on IPv6 only, gamma on IPv4 only;
    tickets, gossip and chats cross."""
    alpha, beta = place("alpha", V6), place("beta", V6)
    gamma = place("gamma")
    nodes = (alpha, beta, gamma)
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_ready()
    join(*nodes)
    for node in nodes:
        assert endpoints(node) == {n.name: n.mesh for n in nodes}
    assert alpha.mesh.startswith("[::1]:") and gamma.mesh[0] == "1"
    for name, pair in (("v6", (alpha, beta)), ("v6-v4", (beta, gamma)),
                       ("v4-v6", (gamma, alpha))):
        with Talk(pair, name, 30) as talk:
            talk.finish()
    for node in nodes:
        node.sigkill()
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_ready()
    for node in nodes:
        wait_alive(node, 3)
        assert node.healthy()


def test_one_node_on_both_families(place):
    """It is dialled at what it advertises, and answers at the other."""
    alpha = place("alpha")
    port = alpha.mesh.rsplit(":", 1)[1]
    with open(alpha.config, "a") as out:
        out.write(f"listen mesh on ::1 port {port}\n"
                  f'advertise mesh "[::1]:{port}"\n')
    beta = place("beta")
    alpha.start()
    beta.start()
    join(alpha, beta)
    assert endpoints(beta)["alpha"] == f"[::1]:{port}"
    with place("gamma", V6) as gamma:
        know(alpha, line(gamma))
        know(gamma, line(alpha, address=f"127.0.0.1:{port}",
                         other=key(alpha)))
        for node in (alpha, beta, gamma):
            wait_alive(node, 3)


def named(place, server, name):
    """alpha, known by a name only beta can ask for; nobody can dial beta."""
    alpha = place("alpha", "127.0.0.2")
    port = alpha.mesh.rsplit(":", 1)[1]
    with open(alpha.config, "a") as out:
        out.write(f'advertise mesh "{name}:{port}"\n')
    beta = place("beta", extra='advertise mesh "127.0.0.1:1"\n')
    beta.prefix = server.prefix(beta.folder)
    alpha.start()
    beta.start()
    return alpha, beta


def move(node, host):
    """Have it listen for nodes on another host, on the same port."""
    text = node.config.read_text()
    new = re.sub(r"listen mesh on \S+ ", f"listen mesh on {host} ", text)
    assert new != text
    node.config.write_text(new)


@pytest.mark.parametrize("to", ["127.0.0.3", "::1"])
def test_names_are_looked_up_again(place, to):
    """The node is now at another address under the same name; only the one
    that knows the name can find it. The chat under way goes on."""
    with NameServer(alpha_test=["127.0.0.2"]) as server:
        alpha, beta = named(place, server, "alpha.test")
        join(alpha, beta)
        with Talk((alpha, beta), "moves", 400) as talk:
            talk.under_way(8)
            alpha.sigkill()
            move(alpha, to)
            alpha.spawn()
            asked = len(server.asked)
            until("beta asks again", lambda: len(server.asked) > asked)
            assert not [row for row in beta.show("nodes")
                        if row["node_id"] == "alpha" and row["connected"]]
            server.names["alpha.test"] = [to]
            for node in (alpha, beta):
                wait_alive(node, 2)
            talk.finish()


def test_every_address_of_a_name_is_tried(place):
    """Nobody is at the first ones, of either family."""
    with NameServer(alpha_test=["::1", "127.0.0.9", "127.0.0.2"]) as server:
        alpha, beta = named(place, server, "alpha.test")
        join(alpha, beta)
        assert {kind for name, kind in server.asked} == {1, 28}


def test_a_name_that_is_none_for_a_while(place):
    """The join says so; later the name is there."""
    with NameServer() as server:
        alpha, beta = named(place, server, "alpha.test")
        alpha.ctl("mesh", "create")
        text = alpha.ctl("ticket")["ticket"]
        answer = beta.ctl("join", text, ok=False)
        assert not answer["ok"] and "alpha.test" in answer["message"]
        server.names["alpha.test"] = ["127.0.0.2"]
        beta.ctl("join", text)
        for node in (alpha, beta):
            wait_alive(node, 2)


def test_a_client_with_a_scope_harms_nobody(place):
    """The admin HTTP on all addresses, asked from one whose name libc would
    make in ways the sandbox forbids: it is answered."""
    alpha = place("alpha")
    port = alpha.admin.rsplit(":", 1)[1]
    alpha.config.write_text(alpha.config.read_text().replace(
        f"listen admin on 127.0.0.1 port {port}",
        f'listen admin on "::" port {port}'))
    # A network of its own, with an address that no other host has.
    alpha.prefix = ["unshare", "-n", "sh", "-c", "ip link set lo up && "
                    "ip addr add fe80::1/64 dev lo nodad && exec \"$@\"",
                    "sh"]
    alpha.spawn()
    until("it answers", lambda: alpha.ctl_run("status").returncode == 0)
    client = f"""
import socket
with socket.create_connection(("fe80::1%lo", {port}), 30) as s:
    s.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n")
    print(s.makefile("rb").read().decode())
"""
    for _ in range(2):
        run = subprocess.run(
            ["nsenter", "-n", "-t", str(alpha.process.pid),
             "/usr/bin/python3", "-c", client],
            capture_output=True, text=True, timeout=60)
        assert run.stdout.startswith("HTTP/1.1 200 "), (run, alpha.log())
        assert json.loads(run.stdout.split("\n\n", 1)[1])
    assert alpha.healthy()
