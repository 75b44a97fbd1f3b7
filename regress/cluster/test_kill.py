"""Death of processes and of whole nodes under traffic, always by SIGKILL of
a real process and a new one in its place (L48). Every message of both sides
is counted: each arrives once and in order, or the test fails (L47)."""

import os
import signal
import threading

import pytest

from hermes_cli import Cli
from hermes_node import until, wait_alive

COUNT = 300
LONG = 120  # seconds a run may take on a busy machine


class Talk:
    """anna on the first node sends to bert on the second, who sends each
    message back; both check sequence and content of all they get."""

    def __init__(self, mesh, name, count=COUNT, extra=()):
        self.count = count
        anna, bert = f"{name}-anna", f"{name}-bert"
        self.bert = Cli("recv", mesh[1].app, bert, "--chat", name, "--check",
                        "--echo", "--stay", "--count", count,
                        "--expect-restart", "--timeout", LONG,
                        Cli.id(anna))
        self.anna = Cli("send", mesh[0].app, anna, "--chat", name, "--check",
                        "--answers", count, "--count", count, "--interval",
                        "0.01", "--expect-restart", "--delete", "--timeout",
                        LONG, *extra, Cli.id(bert))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.anna.kill()
        self.bert.kill()

    def under_way(self, share=4):
        """Wait until a part of the messages went there and back."""
        self.anna.wait("RECEIVED", self.count // share, timeout=LONG)

    def finish(self):
        """Both end well, and every message is there once and in order."""
        anna = self.anna.succeed(LONG)
        bert = self.bert.succeed(LONG)
        every = list(range(1, self.count + 1))
        for cli in (self.anna, self.bert):
            assert cli.sequences("SENT") == every
            assert cli.sequences("RECEIVED") == every
        assert self.anna.sequences("ACKED") == every
        for numbers in (anna, bert):
            assert numbers["sent"] == numbers["received"] == self.count
            assert numbers["gaps"] == 0
        return anna, bert


def no_keys_left(mesh):
    for node in mesh.nodes:
        until(f"{node.name} erased", lambda: node.show("ratchets") == [])


def test_talk_without_any_death(frail):
    with Talk(frail, "calm") as talk:
        anna, bert = talk.finish()
        assert anna["resent"] == bert["resent"] == 0
        assert anna["duplicates"] == bert["duplicates"] == 0
    no_keys_left(frail)


@pytest.mark.parametrize("node", [0, 1], ids=["sender", "receiver"])
@pytest.mark.parametrize("process", ["router", "mesh", "control"])
def test_L48_process_dies(frail, node, process):
    with Talk(frail, f"{process}-{node}") as talk:
        talk.under_way()
        frail[node].kill_process(process)
        talk.finish()
    no_keys_left(frail)


@pytest.mark.parametrize("node", [0, 1], ids=["sender", "receiver"])
def test_L48_keyd_dies_and_the_node_with_it(frail, node):
    with Talk(frail, f"keyd-{node}") as talk:
        talk.under_way()
        victim = frail[node]
        import os
        os.kill(victim.pids()["keyd"], signal.SIGKILL)
        assert victim.process.wait(LONG) != 0
        victim.start()
        talk.finish()
    no_keys_left(frail)


@pytest.mark.parametrize("nodes", [(0,), (1,), (0, 1)],
                         ids=["sender", "receiver", "both"])
def test_L48_whole_node_dies(frail, nodes):
    with Talk(frail, "node") as talk:
        talk.under_way()
        killers = [threading.Thread(target=frail[i].sigkill) for i in nodes]
        for thread in killers:
            thread.start()
        for thread in killers:
            thread.join()
        assert all(frail[i].killed for i in nodes)
        for i in nodes:
            frail[i].spawn()
        for i in nodes:
            frail[i].wait_ready()
        for cli in [(talk.anna, talk.bert)[i] for i in nodes]:
            cli.wait("DISCONNECTED")
            cli.wait("RESUMED", timeout=LONG)
        talk.finish()
    no_keys_left(frail)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_L41_both_nodes_back_one_after_the_other(frail, order):
    """However much later the second comes back."""
    with Talk(frail, "order") as talk:
        talk.under_way()
        for i in (0, 1):
            frail[i].sigkill()
        # Alone it serves, but is not ready: it knows a peer.
        frail[order[0]].spawn()
        first = (talk.anna, talk.bert)[order[0]]
        first.wait("CONNECTED", 2, timeout=LONG)
        frail[order[1]].start()
        frail[order[0]].wait_ready()
        talk.finish()
    no_keys_left(frail)


def test_L43_clean_stop_and_start(frail):
    """SIGTERM: told to leave, exit 0, chats go on after the start."""
    with Talk(frail, "term") as talk:
        talk.under_way()
        assert frail[1].stop() == 0
        talk.bert.wait("DISCONNECTED")
        frail[1].start()
        talk.finish()
    no_keys_left(frail)


def test_node_dies_again_and_again(frail):
    with Talk(frail, "again", 600) as talk:
        for share in (6, 3, 2):
            talk.under_way(share)
            frail[1].sigkill()
            frail[1].start()
        talk.finish()
    no_keys_left(frail)


def test_rekey_under_traffic_and_death(frail):
    """Apps and operator ask for new keys while a router dies."""
    with Talk(frail, "rekeys", extra=("--rekey",)) as talk:
        talk.under_way()
        frail[0].ctl("rekey", "all")
        talk.anna.wait("REKEYED", 2)
        frail[1].kill_process("router")
        talk.finish()
    no_keys_left(frail)


def test_app_dies_and_goes_on(frail):
    """A new hermes(1) of the same key takes the chat up where the node
    says; the peer sees no gap and no message twice."""
    name = "app"
    receiver = Cli("recv", frail[1].app, "app-b", "--chat", name, "--check",
                   "--stay", "--count", 200, "--timeout", LONG,
                   Cli.id("app-a"))
    first = Cli("send", frail[0].app, "app-a", "--chat", name, "--count",
                100000, "--interval", "0.01", Cli.id("app-b"))
    with receiver, first:
        first.wait("ACKED", 100, timeout=LONG)
        first.kill()
        sent = receiver.count("RECEIVED")
        with Cli("send", frail[0].app, "app-a", "--chat", name, "--count",
                 200, "--delete", Cli.id("app-b")) as second:
            resumed = second.wait("RESUMED")
            assert int(resumed.split("next_send=")[1].split()[0]) > sent // 2
            second.succeed(LONG)
        done = receiver.succeed(LONG)
        every = receiver.sequences("RECEIVED")
        assert every == list(range(1, len(every) + 1))
        assert len(every) >= 300 and done["gaps"] == 0
    no_keys_left(frail)


def waiting(pid):
    """Bytes that the sockets of this process have for it, from proc(5)."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
        if target.startswith("socket:["):
            inodes.add(target[len("socket:["):-1])
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f][1:]
    return sum(int(row[4].split(":")[1], 16) for row in rows
               if row[9] in inodes)


@pytest.mark.parametrize("process", ["router", "node"])
def test_acknowledged_is_delivered_though_the_app_is_stopped(frail, process):
    """The app does not read while messages are acknowledged, then its router
    (or node) dies: what was acknowledged is there when the app goes on."""
    name, count, size = "stopped", 400, 4096
    receiver = Cli("recv", frail[1].app, "stop-b", "--chat", name, "--stay",
                   "--count", count, "--expect-restart", "--timeout", LONG,
                   Cli.id("stop-a"))
    sender = Cli("send", frail[0].app, "stop-a", "--chat", name,
                 "--expect-restart", "--delete", "--timeout", LONG,
                 Cli.id("stop-b"))
    with receiver, sender:
        receiver.wait("READY")
        sender.wait("READY")
        receiver.process.send_signal(signal.SIGSTOP)
        lines = "".join(f"{i:0{size - 1}}\n" for i in range(count))
        threading.Thread(target=sender.say, args=[lines],
                         daemon=True).start()
        before = -1
        while before != sender.count("ACKED"):  # until all windows are full
            before = sender.count("ACKED")
            try:
                sender.wait("ACKED", before + 1, timeout=2)
            except AssertionError:
                break
        # Its kernel has it: what ours holds for an app is dropped when the
        # router is dead and the app says anything.
        assert before * (size - 1) <= waiting(receiver.process.pid)
        if process == "router":
            frail[1].kill_process("router")
        else:
            frail[1].sigkill()
            frail[1].start()
        receiver.process.send_signal(signal.SIGCONT)
        assert sender.succeed(LONG)["acked"] == count
        done = receiver.succeed(LONG)
        assert receiver.sequences("RECEIVED") == list(range(1, count + 1))
        assert done["gaps"] == 0


def test_L39_start_stop_and_kill_in_any_order(frail):
    """No lock left behind, no identity lost, the mesh whole each time."""
    key = frail[1].ctl("show")["summary"]["node_key"]
    for how in ("sigkill", "stop", "sigkill", "sigkill", "stop", "stop"):
        if how == "stop":
            assert frail[1].stop() == 0
        else:
            frail[1].sigkill()
        frail[1].start()
        assert frail[1].ctl("show")["summary"]["node_key"] == key
    for node in frail.nodes:
        wait_alive(node, 2)


def test_second_daemon_on_the_same_store_is_refused(frail):
    """A clear message, and the first one is not hurt."""
    import subprocess
    from hermes_node import HERMESD
    run = subprocess.run([HERMESD, "-d", "-f", str(frail[0].config)],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode != 0 and run.stderr
    with Talk(frail, "unhurt", 50) as talk:
        talk.finish()
