"""hermesctl monitor: what happens, as it happens, on real nodes."""

import json
import signal
import socket
import subprocess
import threading

import pytest

from hermes_cli import Cli
from hermes_node import HERMESCTL, Mesh, Node, until, wait_alive


class Monitor:
    """A running `hermesctl monitor -j`: its events, as they come."""

    def __init__(self, node, *arguments):
        self.events, self.lines = [], []
        self.process = subprocess.Popen(
            [HERMESCTL, "-s", node.socket, "monitor",
             *(arguments or ("-j",))],
            stdout=subprocess.PIPE, text=True)
        self.json = not arguments
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        until("it watches", lambda: self.lines)

    def _read(self):
        for line in self.process.stdout:
            if self.json:
                self.events.append(json.loads(line))
            self.lines.append(line.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def wait(self, event, **fields):
        """The first event of that name with these fields."""
        def found():
            return next((e for e in list(self.events) if e["event"] == event
                         and all(e.get(k) == v for k, v in fields.items())),
                        None)
        return until(f"{event} {fields}", found)

    def names(self):
        return [event["event"] for event in self.events]


@pytest.fixture
def trio():
    with Mesh(3) as three:
        yield three


def test_nodes_come_and_go(trio):
    alpha, beta, gamma = trio.nodes
    with Monitor(alpha) as watch:
        assert watch.events[0]["event"] == "watching"
        assert watch.events[0]["node_id"] == "alpha"
        beta.sigkill()
        watch.wait("suspect", node_id="beta")
        watch.wait("fail", node_id="beta")
        beta.start()
        watch.wait("alive", node_id="beta")
        assert gamma.stop() == 0
        watch.wait("leave", node_id="gamma")
        assert not any(e["event"] == "fail" and e["node_id"] == "gamma"
                       for e in watch.events if "node_id" in e)
        with Node("delta") as delta:
            delta.ctl("join", alpha.ctl("ticket")["ticket"])
            join = watch.wait("join", node_id="delta")
            assert len(join["node_key"]) == 12 and join["time"]
            alpha.ctl("mesh", "revoke", "delta")
            watch.wait("revoke", node_id="delta")


def test_chats_keys_and_erasure(trio):
    alpha, beta = trio[0], trio[1]
    with Monitor(alpha) as here, Monitor(beta) as there, \
            Cli("recv", beta.app, "m-b", "--chat", "talk", "--stay",
                Cli.id("m-a")), \
            Cli("send", alpha.app, "m-a", "--chat", "talk", "--count",
                100000, "--interval", "0.05", Cli.id("m-b")) as anna:
        anna.wait("ACKED", 2)
        for watch, own, peer in ((here, "m-a", "m-b"), (there, "m-b", "m-a")):
            ready = watch.wait("chat_ready", chat_id="talk", key_version=1)
            assert ready["local_app_id"] == Cli.id(own)[:12]
            assert ready["remote_app_id"] == Cli.id(peer)[:12]
        alpha.ctl("rekey", "all")
        here.wait("rekey", key_version=2, cause="operator")
        there.wait("rekey", key_version=2)
        alpha.ctl("erase", "--now")
        here.wait("erasure", node_id="alpha")
        alpha.ctl("mesh", "revoke", "beta")
        here.wait("chat_ended", chat_id="talk", status="revoked")
        # No payload, no key: only what is listed in hermesctl(8).
        assert {key for event in here.events for key in event} <= {
            "time", "event", "node_id", "node_key", "chat_id", "handle",
            "local_app_id", "remote_app_id", "key_version", "cause",
            "status",
            # Of a process that a busy machine kept from answering.
            "reasons", "new_chats_refused"}


def test_processes_and_text(trio):
    """As text, a line each; a process that dies and comes back."""
    alpha = trio[0]
    with Monitor(alpha) as watch, Monitor(alpha, "--full") as text:
        pid = alpha.pids()["router"]
        alpha.kill_process("router")
        watch.wait("process_down", process="router", pid=pid)
        watch.wait("process_up", process="router", restarts=1)
        until("the same as text", lambda: any(
            f"process_down process=router pid={pid} restarts=" in line
            for line in text.lines))
        assert text.lines[0].endswith("watching node_id=alpha")
        alpha.process.send_signal(signal.SIGSTOP)  # and does not answer
        until("why it is not ready", lambda: any(
            'not_ready reasons="parent not answering" new_chats_refused=no'
            in line for line in text.lines))
        alpha.process.send_signal(signal.SIGCONT)
        alpha.process.terminate()
        assert watch.process.wait(60) == 3  # the daemon is gone
        assert alpha.process.wait(60) == 0


def test_membership_renewal_is_an_event():
    with Mesh(2, extra="mesh { membership lifetime 10s }\n") as two:
        with Monitor(two[0]) as alpha, Monitor(two[1]) as beta:
            alpha.wait("renewed", node_id="alpha")
            beta.wait("renewed", node_id="beta")


def test_watchers_do_not_pile_up(trio):
    """One that goes away is forgotten; one that never reads holds nobody
    up."""
    alpha = trio[0]
    for _ in range(40):  # more than hermesctl's socket has places
        with Monitor(alpha):
            pass
    deaf = socket.socket(socket.AF_UNIX)
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    deaf.connect(alpha.socket)
    deaf.sendall(b'{"command":"monitor"}\n')
    with Monitor(alpha) as watch:
        trio[1].sigkill()
        watch.wait("fail", node_id="beta")
        trio[1].start()
        watch.wait("alive", node_id="beta")
    deaf.close()
    assert alpha.healthy()
    wait_alive(alpha, 3)
