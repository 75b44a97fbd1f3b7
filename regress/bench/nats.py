"""Two clustered nats-servers with TLS on loopback, and nats_bench on them:
what `make bench` measures Hermes against, in the same run."""

import json
import socket
import subprocess
import tempfile

from contextlib import contextmanager

import hermes_node

CONF = """
listen: 127.0.0.1:{client}
server_name: {name}
tls {{ cert_file: "{dir}/cert.pem", key_file: "{dir}/key.pem" }}
cluster {{
  name: bench
  listen: 127.0.0.1:{route}
  routes: [ {peers} ]
  tls {{ cert_file: "{dir}/cert.pem", key_file: "{dir}/key.pem",
         ca_file: "{dir}/cert.pem" }}
}}
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def make_certificate(folder):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout",
         f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
        check=True, capture_output=True)


def wait_line(process, word):
    """Read the server's log until a line has the word in it."""
    for line in process.stderr:
        if word in line:
            return
    raise RuntimeError(f"nats-server ended before it said {word!r}")


@contextmanager
def cluster():
    """Two servers that know each other; yields (urls, ca file, pids)."""
    with tempfile.TemporaryDirectory() as folder:
        make_certificate(folder)
        a, b, route_a, route_b = free_ports(4)
        servers = []
        try:
            for name, client, route, peer in (
                    ("a", a, route_a, None), ("b", b, route_b, route_a)):
                peers = f'"nats://127.0.0.1:{peer}"' if peer else ""
                path = f"{folder}/{name}.conf"
                with open(path, "w", encoding="ascii") as f:
                    f.write(CONF.format(client=client, name=name, dir=folder,
                                        route=route, peers=peers))
                servers.append(subprocess.Popen(
                    ["nats-server", "-c", path], text=True,
                    stderr=subprocess.PIPE))
                wait_line(servers[-1], "Server is ready")
            wait_line(servers[0], "Route connection created")
            for server in servers:  # keep their logs from blocking them
                subprocess.Popen(["cat"], stdin=server.stderr,
                                 stdout=subprocess.DEVNULL)
            yield ([f"tls://localhost:{p}" for p in (a, b)],
                   f"{folder}/cert.pem", [s.pid for s in servers])
        finally:
            for server in servers:
                server.kill()
                server.wait()


def run(program, chats, messages, size=256, window=256, rounds=3,
        how="bursts"):
    """nats_bench's JSON, with the CPU seconds of both servers."""
    with cluster() as (urls, ca, pids):
        out = subprocess.run(
            [program, *urls, ca, str(chats), str(messages), str(size),
             str(window), str(rounds), how],
            check=True, capture_output=True, text=True).stdout
        result = json.loads(out)
        result["cpu"] = [hermes_node.cpu_seconds(pid) for pid in pids]
        return result
