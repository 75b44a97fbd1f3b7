"""Health: why a node is not ready; that it takes no new chats, but goes on
with the old ones, while its disk is nearly full, its store cannot be written
or its clock jumped; and that it recovers by itself."""

import json
import os
import re
import subprocess
import threading

import pytest

from clock import Clock
from hermes_node import (HERMESCTL, START, Node, join, until,
                         wait_alive)
from hermes_wire import Session, meet

MIB = 1 << 20
TIMED_OUT = 4  # of hermesctl(8)


class SmallDisk:
    """A node's store on a file system of its own, of 16 MiB."""

    SIZE = 16 * MIB

    def __init__(self, node):
        assert os.geteuid() == 0, "mounting needs root"
        self.path = node.config.parent / "keystore"
        st = os.stat(self.path)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self.SIZE},mode=0700,"
             f"uid={st.st_uid},gid={st.st_gid}", "hermes-test", self.path],
            check=True)
        self.filler = self.path / "filler"

    def used(self):
        fs = os.statvfs(self.path)
        return 100 * (fs.f_blocks - fs.f_bfree) / fs.f_blocks

    def fill(self, percent):
        """Until so much is used; 100 is to the last block."""
        with open(self.filler, "ab") as out:
            while self.used() < percent:
                try:
                    os.write(out.fileno(), bytes(4096))
                except OSError:
                    return

    def free(self):
        self.filler.unlink(missing_ok=True)

    def unmount(self):
        subprocess.run(["umount", "-l", self.path], check=True)


class Watch:
    """The events of hermesctl monitor."""

    def __init__(self, node):
        self.events = []
        self.process = subprocess.Popen(
            [HERMESCTL, "-s", node.socket, "monitor", "-j"],
            stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        until("it watches", lambda: self.events)

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def wait(self, event, **fields):
        until(f"{event} {fields}", lambda: any(
            e["event"] == event and fields.items() <= e.items()
            for e in list(self.events)))

    def end(self):
        self.process.kill()
        self.process.wait()


class Pair:
    """alpha, whose health suffers, and beta; an app on each, and a chat."""

    def __init__(self, small_disk=False, clock=False):
        self.alpha, self.beta = Node("alpha"), Node("beta")
        self.nodes = [self.alpha, self.beta]  # for the logs of a failure
        self.disk = SmallDisk(self.alpha) if small_disk else None
        if clock:
            self.clock = Clock(self.alpha.folder)
            self.alpha.prefix = self.clock.prefix
        self.sessions, self.watch, self.sent = [], None, 0
        try:
            for node in self.nodes:
                node.spawn()
            for node in self.nodes:
                node.wait_ready()
            join(*self.nodes)
            self.watch = Watch(self.alpha)
            self.anna, self.bert = (Session(n.app) for n in self.nodes)
            self.sessions = [self.anna, self.bert]
            for one in self.sessions:
                one.connect(auto=True)
            meet(*self.sessions)
            self.anna.ready("old", self.bert.identity)
            self.talk()
        except BaseException:
            self.destroy()
            raise

    def talk(self):
        """A message each way."""
        self.sent += 1
        text = b"message %d" % self.sent
        for one, other in ((self.anna, self.bert), (self.bert, self.anna)):
            one.message("old", self.sent, text)
            assert other.received("old") == (self.sent, text)
            one.acked("old", self.sent)

    def old_chat_lives(self):
        """Messages, a rekey, a break and a resumption."""
        self.talk()
        version = self.alpha.show("ratchets")[0]["key_version"]
        assert self.alpha.ctl("rekey", "old", "--wait")["ok"]
        assert self.alpha.show("ratchets")[0]["key_version"] == version + 1
        self.anna.close()
        self.bert.wait("chat_status", lambda s: s.status == "peer_away")
        self.again()

    def again(self):
        """anna comes back to her chat."""
        identity = self.anna.identity
        self.anna.close()
        self.anna = Session(self.alpha.app, identity)
        self.sessions[0] = self.anna
        self.anna.connect(auto=True)
        self.anna.ready("old", self.bert.identity, resume=True)
        self.talk()

    def reasons(self):
        status, body = self.alpha.http("/readyz")
        answer = json.loads(body)
        assert (status == 200) == answer["ready"] == (not answer["reasons"])
        return answer["reasons"]

    def refused(self):
        """New chats are, whoever begins them."""
        for one, other, name in ((self.anna, self.bert, "mine"),
                                 (self.bert, self.anna, "theirs")):
            one.start(name, other.identity, correlation=name)
            error = one.error("LIMIT_REACHED",
                              lambda e, name=name: e.chat_id == name)
            assert one.last_correlation == name
            assert 0 < error.retry_after_nanos <= 60 * 10**9
            assert other.none("start_chat",
                              lambda s, name=name: s.chat_id == name)

    def accepted(self):
        """What was refused is taken now."""
        for one, other, name in ((self.anna, self.bert, "mine"),
                                 (self.bert, self.anna, "theirs")):
            one.ready(name, other.identity)

    def said(self, reason, text):
        """The state, everywhere an operator may look."""
        alpha = self.alpha
        until("/metrics", lambda: alpha.metric(
            f'hermes_not_ready{{reason="{reason}"}}') == 1)
        assert alpha.metric("hermes_node_ready") == 0
        until("router refuses", lambda: alpha.metric(
            "hermes_new_chats_refused") == 1)
        run = alpha.ctl_run("status")
        assert run.returncode == 1 and text in run.stdout
        status = alpha.ctl("status", ok=False)
        assert not status["ready"] and text in status["reasons"]
        until("log", lambda: re.search(
            rf"event=not_ready reasons=\S*{reason}\S* new_chats=refused",
            alpha.log()))

    def said_in_summary(self, text):
        summary = self.alpha.ctl("show")["summary"]
        assert not summary["ready"] and text in summary["reasons"]
        assert summary["new_chats_refused"]
        lines = self.alpha.ctl_run("show").stdout.splitlines()
        assert any(re.match(r"ready +no$", line) for line in lines)
        assert any(re.match(rf"reasons +.*{text}", line) for line in lines)
        assert any(re.match(r"chats refused +yes$", line) for line in lines)

    def recovers(self):
        until("ready again", lambda: self.reasons() == [])
        until("router takes them", lambda: self.alpha.metric(
            "hermes_new_chats_refused") == 0)
        until("as metric", lambda: self.alpha.metric(
            "hermes_node_ready") == 1)
        self.watch.wait("ready", new_chats_refused=False)
        self.accepted()
        self.talk()
        assert self.alpha.healthy() and self.beta.healthy()
        assert re.search(r"event=ready new_chats=taken", self.alpha.log())

    def destroy(self):
        for session in self.sessions:
            session.close()
        if self.watch is not None:
            self.watch.end()
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.sigkill()
        if self.disk is not None:
            self.disk.unmount()
        for node in self.nodes:
            node.destroy()


@pytest.fixture
def small():
    pair = Pair(small_disk=True)
    yield pair
    pair.destroy()


@pytest.fixture
def timed():
    pair = Pair(clock=True)
    yield pair
    pair.destroy()


def test_a_nearly_full_disk(small):
    """At 95 % no new chats, from either side; old ones go on, are rekeyed
    and resumed. Below it everything works again, and nothing was started
    again for it."""
    small.disk.fill(90)
    # But for a peer that is suspected for a moment, on a busy machine.
    until("all is well", lambda: small.reasons() == [])
    small.disk.fill(95.1)
    until("/readyz", lambda: small.reasons() == ["disk nearly full"])
    assert small.alpha.http("/readyz")[0] == 503
    assert small.alpha.http("/healthz")[0] == 200
    small.said("disk_nearly_full", "disk nearly full")
    small.said_in_summary("disk nearly full")
    small.watch.wait("not_ready", reasons=["disk nearly full"],
                     new_chats_refused=True)
    until("keyd knows too", lambda: "new_chats=refused" in small.alpha.log())
    assert small.alpha.metric("hermes_store_disk_used_percent") >= 95
    assert small.alpha.metric("hermes_store_disk_size_bytes") == \
        SmallDisk.SIZE
    assert 0 < small.alpha.metric("hermes_store_disk_free_bytes") < \
        SmallDisk.SIZE / 19
    small.refused()
    small.old_chat_lives()
    small.disk.free()
    small.recovers()


def test_a_store_that_cannot_be_written(small):
    """Not a byte is left: what was sent waits, and is neither lost nor
    refused; it arrives when there is room."""
    small.disk.fill(100)
    until("the disk", lambda: "disk nearly full" in small.reasons())
    small.sent += 1
    small.anna.message("old", small.sent, b"patience")
    until("the store", lambda: "store not writable" in small.reasons())
    small.said("store_not_writable", "store not writable")
    small.watch.wait("not_ready", new_chats_refused=True)
    small.anna.start("mine", small.bert.identity)
    error = small.anna.error("LIMIT_REACHED", lambda e: e.chat_id == "mine")
    assert error.retry_after_nanos > 0
    assert small.anna.none("chat_message_ack", lambda a: a.chat_id == "old")
    assert small.anna.none("delete_chat_ack")
    small.disk.free()
    small.anna.acked("old", small.sent)
    assert small.bert.received("old") == (small.sent, b"patience")
    small.bert.message("old", small.sent, b"back")
    small.bert.acked("old", small.sent)
    assert small.anna.received("old") == (small.sent, b"back")
    small.recovers()
    assert "event=store_works_again" in small.alpha.log()


def test_what_an_operator_cannot_have_stored_says_why():
    """Now, and in the log: no room, and not that anything is damaged."""
    node = Node("alpha")
    disk = SmallDisk(node)
    try:
        node.start()
        node.ctl("mesh", "create")
        disk.fill(100)
        for words in ("ticket", "rekey tls"):
            run = node.ctl_run(*words.split())
            assert run.returncode == 1, run
            assert "the store failed: no room on its disk" in run.stderr
        run = node.ctl_run("erase", "--now")
        assert run.returncode == 1 and "as the log says" in run.stderr, run
        assert re.search("event=store_rotation_failed .*no room on its disk",
                         node.log())
        assert "damaged" not in node.log()
        disk.free()
        assert node.ctl("erase", "--now")["ok"] and node.ctl("ticket")["ok"]
        assert node.healthy()
    finally:
        node.destroy()
        disk.unmount()


def test_a_full_disk_is_named_while_an_operator_waits(small):
    """keyd answers nobody then, control least of all, whose answer waits for
    the store: the parent says why."""
    small.disk.fill(100)
    until("the disk", lambda: "disk nearly full" in small.reasons())
    with subprocess.Popen([HERMESCTL, "-s", small.alpha.socket, "rekey",
                           "old"], stdout=subprocess.DEVNULL) as rekey:
        until("keyd is silent", lambda: "keyd not answering" in
              small.reasons())
        until("the store", lambda: "store not writable" in small.reasons())
        small.said("store_not_writable", "store not writable")
        assert small.alpha.metric("hermes_store_failed") == 1
        small.disk.free()
        # An operator who had to wait for too long was told so.
        assert rekey.wait(START) in (0, TIMED_OUT)
    assert small.alpha.ctl("rekey", "old", "--wait")["ok"]
    small.recovers()


@pytest.mark.parametrize("killed,percent", [(True, 100), (False, 100),
                                            (False, 99.2)])
def test_a_start_without_room(small, killed, percent):
    """After a death or a stop the disk is full to the last block, or so that
    the store opens, but takes nothing: the node says so, and not that anything
    is damaged, ends, and with room it starts and has lost nothing."""
    alpha = small.alpha
    if killed:
        alpha.sigkill()
    else:
        assert alpha.stop() == 0
    small.disk.fill(percent)
    before = len(alpha.log())
    alpha.spawn()
    assert alpha.process.wait(START) == 1
    said = alpha.log()[before:]
    assert re.search(f"event=store path={small.disk.path} "
                     'reason="no room on its disk', said), said
    assert "damaged" not in said
    small.disk.free()
    alpha.start()
    small.again()


@pytest.mark.parametrize("ahead", [30 * 86400, -86400])
def test_a_clock_that_jumped(timed, ahead):
    """A month forth, a day back. What lives by the clock (memberships,
    presence, lifetimes of keys) goes on as if it had not; set right, the
    node is ready at once."""
    timed.clock.set(30)  # half a minute is nothing
    timed.talk()
    until("all is well", lambda: timed.reasons() == [])
    timed.clock.set(0)
    timed.clock.set(ahead)
    until("/readyz", lambda: timed.reasons() == ["clock jumped"])
    timed.said("clock_jumped", "clock jumped")
    timed.said_in_summary("clock jumped")
    timed.watch.wait("not_ready", reasons=["clock jumped"],
                     new_chats_refused=True)
    assert abs(timed.alpha.metric("hermes_clock_jump_seconds") -
               abs(ahead)) <= 60
    timed.refused()
    timed.old_chat_lives()
    for node in (timed.alpha, timed.beta):
        wait_alive(node, 2)
    timed.clock.set(0)
    timed.recovers()
    assert timed.alpha.metric("hermes_clock_jump_seconds") == 0
