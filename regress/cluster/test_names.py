"""Names of nodes are looked up inside the mesh's sandbox: from a hosts file
and a name server that are there for one node only."""

import contextlib
import re

from hermes_node import Node, join, until
from name_server import NameServer, own_files
from test_fixed import joins, know, line


LOCAL = "127.0.0.1 localhost\n"


@contextlib.contextmanager
def pair(resolver, hosts):
    """alpha, which says it is at alpha.test; beta, which sees these files."""
    with contextlib.ExitStack() as stack:
        alpha = Node("alpha")
        stack.callback(alpha.destroy)
        port = alpha.mesh.rsplit(":", 1)[1]
        with open(alpha.config, "a") as out:
            out.write(f'advertise mesh "alpha.test:{port}"\n')
        beta = Node("beta")
        stack.callback(beta.destroy)
        beta.prefix = own_files(beta.folder, resolver, hosts)
        alpha.spawn()
        beta.spawn()
        alpha.wait_ready()
        beta.wait_ready()
        yield alpha, beta


def test_name_server_in_the_sandbox():
    with NameServer(alpha_test=["127.0.0.1"]) as server, \
            pair(server.resolver(), LOCAL) as (alpha, beta):
        join(alpha, beta)
        assert ("alpha.test", 1) in server.asked
        assert beta.log().count("seccomp=kill") == 4
        # And by a mesh process that is new.
        before = len(server.asked)
        beta.kill_process("mesh")
        until("asked again", lambda: len(server.asked) > before)
        until("alive again", lambda: [
            row["state"] for row in beta.show("nodes")].count("alive") == 2)


def test_hosts_file_in_the_sandbox():
    with pair("nameserver 127.0.0.1:1\n",
              LOCAL + "127.0.0.1 alpha.test\n") as nodes:
        join(*nodes)
        assert nodes[1].healthy()


def test_a_name_that_is_none_harms_nobody():
    """Neither no answer, nor a scope that libc would look up in ways the
    sandbox forbids."""
    with NameServer(other_test=["127.0.0.1"]) as server, \
            pair(server.resolver(), LOCAL) as (alpha, beta):
        port = alpha.mesh.rsplit(":", 1)[1]
        for name in (f"[fe80::1%lo]:{port}", f"alpha.test:{port}"):
            know(beta, line(alpha, address=f'"{name}"'))
            until(f"{name} tried", lambda: joins(beta, re.escape(name)))
        until("asked", lambda: ("alpha.test", 1) in server.asked)
        assert beta.healthy()
