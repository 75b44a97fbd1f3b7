"""Names of nodes are looked up inside the mesh's sandbox: from a hosts file
and a name server that are there for one node only."""

import contextlib
import re
import socket
import struct
import threading

from hermes_node import Node, join, until
from test_fixed import joins, know, line


class NameServer:
    """Answers A for one name with 127.0.0.1, for others that there is none.
    Counts what it is asked."""

    def __init__(self, name):
        self.name = name
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                query, client = self.socket.recvfrom(512)
            except OSError:
                return
            at, labels = 12, []
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            name = ".".join(labels).lower()
            kind, = struct.unpack_from("!H", query, at + 1)
            self.asked.append((name, kind))
            found = name == self.name and kind == 1
            answer = query[:2] + struct.pack(
                "!HHHHH", 0x8180 if name == self.name else 0x8183, 1,
                int(found), 0, 0) + query[12:at + 5]
            if found:
                answer += struct.pack("!HHHIH4s", 0xc00c, 1, 1, 1, 4,
                                      socket.inet_aton("127.0.0.1"))
            self.socket.sendto(answer, client)

    def close(self):
        self.socket.close()


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
        (beta.folder / "resolv.conf").write_text(resolver)
        (beta.folder / "hosts").write_text(hosts)
        beta.prefix = [
            "unshare", "--mount", "sh", "-c",
            f"mount --bind {beta.folder}/resolv.conf /etc/resolv.conf && "
            f"mount --bind {beta.folder}/hosts /etc/hosts && exec \"$@\"",
            "sh"]
        alpha.spawn()
        beta.spawn()
        alpha.wait_ready()
        beta.wait_ready()
        yield alpha, beta


def test_name_server_in_the_sandbox():
    server = NameServer("alpha.test")
    try:
        with pair(f"nameserver {server.address}\n",
                  "127.0.0.1 localhost\n") as (alpha, beta):
            join(alpha, beta)
            assert ("alpha.test", 1) in server.asked
            assert beta.log().count("seccomp=kill") == 4
            # And by a mesh process that is new.
            before = len(server.asked)
            beta.kill_process("mesh")
            until("asked again", lambda: len(server.asked) > before)
            until("alive again", lambda: [
                row["state"] for row in beta.show("nodes")].count(
                    "alive") == 2)
    finally:
        server.close()


def test_hosts_file_in_the_sandbox():
    with pair("nameserver 127.0.0.1:1\n",
              "127.0.0.1 localhost\n127.0.0.1 alpha.test\n") as nodes:
        join(*nodes)
        assert nodes[1].healthy()


def test_a_name_that_is_none_harms_nobody():
    """Neither no answer, nor a scope that libc would look up in ways the
    sandbox forbids."""
    server = NameServer("other.test")
    try:
        with pair(f"nameserver {server.address}\n",
                  "127.0.0.1 localhost\n") as (alpha, beta):
            port = alpha.mesh.rsplit(":", 1)[1]
            for name in (f"[fe80::1%lo]:{port}", f"alpha.test:{port}"):
                know(beta, line(alpha, address=f'"{name}"'))
                until(f"{name} tried", lambda: joins(
                    beta, re.escape(name)))
            until("asked", lambda: ("alpha.test", 1) in server.asked)
            assert beta.healthy()
    finally:
        server.close()
