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


def rewrite(node, resolver, hosts):
    """What the node sees from its next reload on."""
    (node.folder / "resolv.conf").write_text(resolver)
    (node.folder / "hosts").write_text(hosts)
    pids = node.pids()
    assert node.ctl("reload")["ok"]
    return pids


def test_a_reload_reads_both_files_again():
    """Questions go to the new servers and no more to the old; a name that
    hosts has, has lost, and has again; nobody is started again for it."""
    with NameServer() as old, NameServer(alpha_test=["127.0.0.1"]) as new, \
            pair(old.resolver(), LOCAL) as (alpha, beta):
        ticket = alpha.ctl("mesh", "create") and alpha.ctl("ticket")["ticket"]
        assert beta.ctl_run("join", ticket).returncode != 0
        until("asked", lambda: ("alpha.test", 1) in old.asked)
        pids = rewrite(beta, "# another\n\nsearch other.test\n" +
                       new.resolver() + "options ndots:1 timeout:1\n", LOCAL)
        before = old.heard()
        assert beta.ctl("join", ticket)["ok"]
        assert ("alpha.test", 1) in new.asked
        assert old.heard() == before

        def alpha_lives():
            """Its incarnation, when it is alive; each mesh has another."""
            return next((row["incarnation"] for row in beta.show("nodes")
                         if row["node_id"] == "alpha" and
                         row["state"] == "alive"), 0)

        # hosts come first, upper case or not, whatever stands around.
        rewrite(beta, "nameserver 127.0.0.1:1\n",
                "# 127.0.0.1 alpha.test\nnonsense alpha.test\n"
                "\t127.0.0.1\tlocalhost Alpha.Test # alpha\n" +
                "::1 localhost")
        asked, life = new.heard(), until("alive", alpha_lives)
        alpha.kill_process("mesh")
        until("alive again", lambda: alpha_lives() > life)
        assert new.heard() == asked
        assert beta.pids() == pids and beta.healthy()


def test_a_reload_takes_options_back():
    """An option that is no longer in the file is what it was without one: a
    question that nobody answers is asked again."""
    with NameServer(alpha_test=None) as server, \
            pair(server.resolver() + "options attempts:1 timeout:1\n",
                 LOCAL) as (alpha, beta):
        ticket = alpha.ctl("mesh", "create") and alpha.ctl("ticket")["ticket"]

        def asked():
            before = server.asked.count(("alpha.test", 1))
            assert beta.ctl_run("join", ticket).returncode != 0
            server.heard()
            return server.asked.count(("alpha.test", 1)) - before
        assert asked() == 1
        rewrite(beta, server.resolver() + "options timeout:1\n", LOCAL)
        assert asked() > 1


def test_domains_are_searched_in_their_order():
    """Who is asked for in the first domain is not taken to be the one of that
    name in the second."""
    with NameServer(alpha_first_test=["127.0.0.1"],
                    alpha_second_test=["127.0.0.2"]) as server, \
            pair("search first.test second.test\n" + server.resolver(),
                 LOCAL) as (alpha, beta):
        port = alpha.mesh.rsplit(":", 1)[1]
        know(beta, line(alpha, address=f'"alpha:{port}"'))
        asked = until("asked", lambda: [
            name for name, kind in server.asked if kind == 1])
        assert asked[0] == "alpha.first.test"


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
