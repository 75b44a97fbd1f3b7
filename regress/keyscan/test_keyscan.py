"""Where the keys are: searched for in all memory of all processes of two
real nodes and in every byte they have on disk, while a journal of keyd's test
build says which keys live and which are dead. A search that finds nothing
proves nothing, so each is shown to find what is there."""

import datetime
import hashlib
import ipaddress
import os
import pathlib
import pwd
import re
import signal
import subprocess
import sys
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hermes_cli import BUILD, ROOT
from hermes_node import join, state, until
from hermes_wire import Identity, Session
from keyscan import (House, count, custody, in_files, in_memory, in_opened,
                     mapping_of, mappings, stopped)

# Rotations as soon as they are due; as many rekeys as a test likes.
CONFIG = """
rekey {
\tlimit 1000
\twindow 1s
}
keystore {
\terase interval %s
}
"""
LOOKS = 5      # at a busy node
MESSAGES = 60  # each way between two rekeys

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


class Houses:
    """Two nodes in one mesh, each with a journal."""

    def __init__(self, erase="300ms"):
        self.nodes = []
        try:
            for name in ("alpha", "beta"):
                self.nodes.append(House(name, extra=CONFIG % erase))
            # beta has its operator's key, so keyd holds three of TLS.
            operators_key(self.nodes[1])
            for node in self.nodes:
                node.spawn()
            for node in self.nodes:
                node.wait_ready()
            join(*self.nodes)
        except BaseException:
            for node in self.nodes:
                print(node.log()[-4000:])
            self.destroy()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    def __getitem__(self, index):
        return self.nodes[index]

    def destroy(self):
        for node in self.nodes:
            node.destroy()

    def stopped(self):
        return stopped(*self.nodes)

    def everything(self):
        """All keys that ever were, but passphrases: {bytes: kind}."""
        keys = {}
        for node in self.nodes:
            for part in node.journal.keys():
                keys.update(part)
        return keys


def operators_key(node):
    """A certificate and key of the operator's for apps."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "operator")])
    now = datetime.datetime.utcnow()
    cert = x509.CertificateBuilder().subject_name(name).issuer_name(
        name).public_key(key.public_key()).serial_number(
        x509.random_serial_number()).not_valid_before(
        now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=9)).add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(
            ipaddress.ip_address("127.0.0.1"))]), False).sign(
        key, hashes.SHA256())
    paths = [node.config.parent / n for n in ("operator.crt", "operator.key")]
    paths[0].write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    paths[1].touch(0o600)
    paths[1].write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    with open(node.config, "a") as out:
        out.write('certificate "%s" key "%s"\n' % tuple(paths))


def places(node, app):
    """Where an app is, as a node knows it."""
    return [row["node_id"] for row in node.show("apps")
            if row["app_id"] == app]


class Chat:
    """One app on each node and a chat of theirs."""

    def __init__(self, houses, name):
        self.houses = houses
        self.name = name
        self.a = Session(houses[0].app, Identity(name + "a"))
        self.b = Session(houses[1].app, Identity(name + "b"))
        self.a.connect()
        self.b.connect()
        until("apps known", lambda: all(
            places(node, app.identity.id) == [home.name]
            for node in houses.nodes
            for home, app in zip(houses.nodes, (self.a, self.b))))
        self.a.start(name, self.b.identity)
        self.b.start(name, self.a.identity)
        self.a.wait_ready(name)
        self.b.wait_ready(name)
        self.sequence = {id(self.a): 0, id(self.b): 0}
        self.high = 1  # version, as far as the apps were told

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.a.close()
        self.b.close()

    def talk(self, messages=MESSAGES):
        """So many messages each way, all received and acknowledged."""
        both = ((self.a, self.b), (self.b, self.a))
        first = dict(self.sequence)
        for i in range(1, messages + 1):
            for one, _ in both:
                one.message(self.name, first[id(one)] + i,
                            self.payload(first[id(one)] + i))
        for one, other in both:
            for i in range(1, messages + 1):
                number = first[id(one)] + i
                assert other.received(self.name) == (number,
                                                     self.payload(number))
            one.acked(self.name, first[id(one)] + messages)
            self.sequence[id(one)] += messages

    def payload(self, number):
        return hashlib.sha256(f"{self.name} {number}".encode()).digest()

    def rekey(self, one, other):
        one.start(self.name, other.identity, rekey=True)
        ack = one.wait_ready(self.name)
        other.wait("chat_status", lambda s: s.status == "rekeyed" and
                   s.key_version == ack.key_version)
        self.high = ack.key_version
        return ack.key_version

    def move(self, old, node):
        """An app goes on at another node; its new session."""
        peer = self.b if old is self.a else self.a
        new = Session(node.app, old.identity)
        new.connect(arrived=True)
        old.close()
        until("all know where it is", lambda: all(
            places(n, new.identity.id) == [node.name]
            for n in self.houses.nodes))
        self.sequence[id(new)] = self.sequence.pop(id(old))
        if old is self.a:
            self.a = new
        else:
            self.b = new
        new.start(self.name, peer.identity, version=self.high,
                  next_send_sequence=self.sequence[id(new)] + 1,
                  next_receive_sequence=self.sequence[id(peer)] + 1)
        self.high = new.wait_ready(self.name).key_version
        return new

    def busy(self):
        """Talk with rekeys of both sides' and the operator's wish."""
        self.talk()
        for one, other in ((self.a, self.b), (self.b, self.a)) * 2:
            self.rekey(one, other)
            self.talk()
        version = self.version()
        self.houses[1].ctl("rekey", "all")
        until("the operator's rekey", lambda: self.version() == version + 1)
        self.talk()

    def version(self):
        return max(r["key_version"] for r in self.houses[0].show("ratchets"))


@pytest.fixture(scope="module")
def houses():
    with Houses() as two:
        yield two


@pytest.fixture(scope="module")
def busy(houses):
    """A chat that was busy and is at rest; nothing waits to be erased."""
    with Chat(houses, "busy-chat-of-the-search") as chat:
        chat.busy()
        for node in houses.nodes:
            node.ctl("erase", "--now")
        yield chat


# --- what is a fault --------------------------------------------------------

def on_disk(houses):
    """Hits of any key in any file, but for the passphrase in its own."""
    wrong = []
    for node in houses.nodes:
        own = str(node.config.parent / "passphrase")
        wrong += [h for h in in_files(houses.everything(), *node.files())
                  if (h.target, h.kind) != (own, "passphrase")]
    return count(wrong)


def opens(node, what):
    """Which of the byte strings come out of any file of a node, opened with
    every key that the passphrase leads to."""
    wrapping, _, stores = node.unwrap()
    keys = {item: "record" for item in what}
    return {h.key for h in in_opened(keys, [wrapping, *stores],
                                     *node.files())}


# --- the search itself ------------------------------------------------------

def test_search_finds_what_is_there(houses, busy, tmp_path):
    key = next(iter(houses[0].journal.live("link")))
    swapped = b"".join(key[i:i + 4][::-1] for i in range(0, 32, 4))
    inner = bytes(b ^ 0x36 for b in key)
    forms = {"plain": key, "swapped": swapped, "inner pad": inner,
             "reversed": key[::-1], "first half": key[:16],
             "second half": key[16:], "middle": key[8:24]}
    for name, planted in forms.items():
        file = tmp_path / "planted"
        file.write_bytes(os.urandom(5001) + planted + os.urandom(77))
        found = in_files({key: "link"}, file)
        assert {h.offset for h in found} >= {5001}, name
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; k = sys.stdin.buffer.read("
             f"{len(planted)}); print(flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            child.stdin.write(planted)
            child.stdin.flush()
            child.stdout.readline()
            child.send_signal(signal.SIGSTOP)
            until("stopped", lambda: state(child.pid) == "T")
            assert in_memory({key: "link"}, child.pid), name
        finally:
            child.kill()
            child.communicate()
    file.write_bytes(os.urandom(9000))
    assert in_files(houses.everything(), file) == []


def test_every_live_key_is_found_in_keyd(houses, busy):
    """Each key that the journal calls live is there, in keyd of its node."""
    with houses.stopped() as pids:
        for node in houses.nodes:
            live = node.journal.live()
            kinds = set(live.values())
            assert kinds >= {"node", "tls", "link", "chain", "store", "names",
                             "wrapping"}
            found = {h.key for h in in_memory(live, pids[node.name, "keyd"])}
            assert found == set(live)
    assert "authority" in houses[0].journal.live().values()
    assert len(houses[1].journal.live("tls")) == 3


def test_disk_opens_with_the_passphrase(houses, busy):
    """The other searches of the disk are done the same way."""
    for node in houses.nodes:
        wrapping, names, stores = node.unwrap()
        assert set(stores) == set(node.journal.live("store"))
        assert {wrapping} == set(node.journal.live("wrapping"))
        assert {names} == set(node.journal.live("names"))
        want = list(node.journal.live("node", "link", "store"))
        assert len(want) == 3
        assert opens(node, want) == set(want)
        assert opens(node, [busy.name.encode()])


# --- custody ----------------------------------------------------------------

def test_L04_keys_are_in_keyd_alone_and_die(houses, busy):
    for node in houses.nodes:
        dead = list(node.journal.dead().values())
        for kind in ("chain", "message"):
            assert dead.count(kind) >= 2 * 5 * MESSAGES
        for kind in ("ephemeral", "dh", "prk", "link"):
            assert dead.count(kind) >= 5
        assert dead.count("store") >= 1 and dead.count("passphrase") == 1
    # Straight after a step: what it left behind, nothing has covered yet.
    steps = [lambda: busy.rekey(busy.a, busy.b), lambda: busy.talk(1),
             lambda: busy.rekey(busy.b, busy.a), lambda: busy.talk(5)]
    for step in steps:
        step()
        with houses.stopped() as pids:
            assert {process for _, process in pids} == {
                "parent", "router", "keyd", "mesh", "control"}
            wrong, where = custody(houses.nodes, pids, houses.everything())
        assert wrong == {}
        assert set(where) == {"keyd"}


def test_keys_are_nowhere_on_disk_in_the_clear(houses, busy):
    assert on_disk(houses) == {}


def test_L04_nothing_stored_derives_an_older_key(houses, busy):
    """With the passphrase and all files: no link, ephemeral or store key of
    the past, no chain and no message key at all."""
    for node in houses.nodes:
        node.ctl("erase", "--now")
        dead = list(node.journal.dead())
        chains = list(node.journal.live("chain"))
        assert opens(node, dead + chains) == set()


def test_keys_are_nowhere_else_while_busy(houses):
    """Caught in the middle of things; keyd's own memory is not looked at."""
    with Chat(houses, "chat-caught-in-the-act") as chat:
        failed = []

        def work():
            try:
                chat.busy()
            except BaseException as error:  # shown by the test below
                failed.append(error)
        thread = threading.Thread(target=work)
        thread.start()
        looks = 0
        while looks < LOOKS and (thread.is_alive() or looks == 0):
            with houses.stopped() as pids:
                others = [pid for (_, process), pid in pids.items()
                          if process != "keyd"]
                assert count(in_memory(houses.everything(), *others)) == {}
            looks += 1
        thread.join()
        assert failed == []


def test_L02_no_payload_in_mesh_or_on_disk(houses, busy):
    """What the apps said is in no process between the two keyds."""
    said = {busy.payload(i): "payload" for i in range(
        1, min(busy.sequence.values()) + 1)}
    with houses.stopped() as pids:
        for (node, process), pid in pids.items():
            found = count(in_memory(said, pid))
            if process == "router":
                assert found, node  # the search can find it
            elif process != "keyd":
                assert found == {}, (node, process)
    for node in houses.nodes:
        assert in_files(said, *node.files()) == []
        assert opens(node, said) == set()


def test_passphrase_typed_by_the_operator_dies():
    """hermesctl unlock: it goes through control's hands, not its memory."""
    with House("typed") as node:
        node.stop()
        path = node.config.parent / "passphrase"
        passphrase = path.read_text().strip()
        path.unlink()
        text = node.config.read_text()
        node.config.write_text(re.sub(r"\tpassphrase file .*\n", "", text))
        node.spawn()
        until("control answers", lambda: node.ctl_run(
            "status").stdout)
        node.ctl("unlock", stdin=passphrase + "\n")
        node.wait_ready()
        assert passphrase.encode() in node.journal.dead("passphrase")
        with stopped(node) as pids:
            assert count(in_memory({passphrase.encode(): "passphrase"},
                                   *pids.values())) == {}
        assert in_files({passphrase.encode(): "passphrase"},
                        *node.files()) == []


# --- erasure ----------------------------------------------------------------

class Doomed:
    """A chat that is about to end, on both nodes, and what must go with it."""

    def __init__(self, houses, name):
        self.houses = houses
        before = [set(n.journal.live()) for n in houses.nodes]
        self.chat = Chat(houses, name)
        self.chat.talk(10)
        self.chat.rekey(self.chat.a, self.chat.b)
        self.chat.talk(10)
        self.keys = [{k: v for k, v in n.journal.live("link", "chain").items()
                      if k not in old}
                     for n, old in zip(houses.nodes, before)]
        self.links = [[k for k, v in keys.items() if v == "link"]
                      for keys in self.keys]
        assert [len(links) for links in self.links] == [1, 1]

    def close(self):
        self.chat.__exit__()

    def opens(self, node, *more):
        """What of it can be read from a node's disk (its name, its link), or
        of more."""
        return opens(node, [*self.links[self.houses.nodes.index(node)],
                            self.chat.name.encode(), *more])

    def assert_there(self):
        """As long as it lives its record opens; while the store changes its
        key, what was read of the one and the other need not fit."""
        for node in self.houses.nodes:
            until(f"{node.name} has the chat",
                  lambda: len(self.opens(node)) == 2)

    def assert_gone(self, memory=True):
        for node, keys in zip(self.houses.nodes, self.keys):
            assert set(keys) <= set(node.journal.dead())
            assert in_files(keys, *node.files()) == []
            # What lives does open: the search still works.
            assert self.opens(node, *node.journal.live("node")) == set(
                node.journal.live("node"))
        if memory:
            with self.houses.stopped() as pids:
                assert custody(self.houses.nodes, pids,
                               self.houses.everything())[0] == {}

    def wait_ended(self):
        for node, links in zip(self.houses.nodes, self.links):
            until(f"{node.name} wiped the chat", lambda: set(links) <= set(
                node.journal.dead()))

    def wait_erased(self):
        """Ended, and the store has got another key since."""
        self.wait_ended()
        for node, links in zip(self.houses.nodes, self.links):
            node.wait_rotated(node.journal.end_of(links))


def test_delete_and_teardown_erase(houses):
    """alpha's app deletes; beta hears of it from the peer."""
    doomed = Doomed(houses, "chat-that-is-deleted-by-alpha")
    doomed.assert_there()
    doomed.chat.a.delete(doomed.chat.name)
    assert doomed.chat.a.deleted(doomed.chat.name) == "deleted"
    assert doomed.chat.b.deleted(doomed.chat.name) == "deleted_by_peer"
    doomed.wait_erased()
    doomed.assert_gone()
    doomed.close()


def test_erase_now(houses):
    """The operator need not wait for the interval."""
    doomed = Doomed(houses, "chat-that-is-erased-at-once")
    doomed.chat.b.delete(doomed.chat.name)
    assert doomed.chat.a.deleted(doomed.chat.name) == "deleted_by_peer"
    doomed.wait_ended()
    for node in houses.nodes:
        node.ctl("erase", "--now")
    doomed.assert_gone()
    doomed.close()


def test_expiry_erases(houses):
    doomed = Doomed(houses, "chat-that-nobody-talks-in")
    doomed.assert_there()
    for node in houses.nodes:
        node.set("chat idle", "1s")
    try:
        doomed.wait_erased()
        assert doomed.chat.a.deleted(doomed.chat.name) == "expired"
        doomed.assert_gone()
        doomed.close()
    finally:
        for node in houses.nodes:
            node.set("chat idle", "1d")


def test_what_apps_that_moved_left_is_erased(houses, busy):
    """Two apps go from node to node, and are at one for a time, where keyd
    has each key twice; when the chat is over and they have been back where
    they left it, no key that it ever had is anywhere."""
    alpha, beta = houses.nodes
    marks = [node.mark() for node in houses.nodes]

    def keys(*kinds):
        """All of the chat, that ever were."""
        return {key: kind for node, mark in zip(houses.nodes, marks)
                for _, kind, key in node.journal.records()[mark:]
                if kind in kinds}

    def copies():
        """How many ends have each chain and link of the chat that is live."""
        ours = keys("link", "chain")
        return [sorted(n for key, n in node.journal.held()[2].items()
                       if n > 0 and key in ours) for node in houses.nodes]

    def nothing_is_wrong():
        with houses.stopped() as pids:
            assert custody(houses.nodes, pids,
                           houses.everything())[0] == {}
    with Chat(houses, "chat-of-apps-that-go-round") as chat:
        chat.talk(5)
        chat.move(chat.b, alpha)
        chat.talk(5)
        chat.rekey(chat.a, chat.b)
        chat.talk(5)
        assert copies()[0] == [2, 2, 2]
        nothing_is_wrong()
        chat.move(chat.a, beta)  # its end at alpha is still there
        chat.talk(5)
        chat.move(chat.b, beta)
        chat.talk(5)
        assert copies()[1] == [2, 2, 2]
        nothing_is_wrong()
        chat.move(chat.b, alpha)
        chat.talk(5)
        chat.move(chat.a, alpha)
        chat.talk(5)
        # What they had here before is forgotten.
        assert copies()[0] == [2, 2, 2]
        chat.a.delete(chat.name)
        assert chat.a.deleted(chat.name) == "deleted"
        assert chat.b.deleted(chat.name) == "deleted_by_peer"
        until("alpha has nothing", lambda: copies()[0] == [])
        assert copies()[1] != []
        for app in (chat.a, chat.b):
            back = Session(beta.app, app.identity)
            back.connect(arrived=True)
            app.close()
            back.ping()
            back.close()
        until("beta has nothing", lambda: copies() == [[], []])
    nothing_is_wrong()
    for node in houses.nodes:
        node.ctl("erase", "--now")
    gone = keys("link", "chain", "ephemeral", "dh", "prk", "message")
    assert not set(gone) & {key for node in houses.nodes
                            for key in node.journal.live()}
    with houses.stopped() as pids:
        assert count(in_memory(gone, *pids.values())) == {}
    for node in houses.nodes:
        assert in_files(gone, *node.files()) == []
        assert opens(node, [*keys("link", "ephemeral"),
                            chat.name.encode()]) == set()


def test_sigterm_erases_what_is_due():
    """Long before the interval: stopping is a reason of its own."""
    with Houses(erase="1h") as houses:
        doomed = Doomed(houses, "chat-deleted-before-the-stop")
        with Chat(houses, "chat-that-outlives-the-stop") as other:
            other.talk(10)
            doomed.chat.a.delete(doomed.chat.name)
            doomed.wait_ended()
            # Dead, and not yet erased: the logs have it still.
            doomed.assert_there()
            links = [list(n.journal.live("link")) for n in houses.nodes]
            for node in houses.nodes:
                assert node.stop() == 0
            doomed.assert_gone(memory=False)
            assert on_disk(houses) == {}
            for node, link in zip(houses.nodes, links):
                assert opens(node, [*link, other.name.encode()]) == {
                    *link, other.name.encode()}
        doomed.close()


def test_sigkill_forgets_no_erasure():
    """Killed between the end of a chat and its erasure; the next start
    erases, whatever happens or does not happen then."""
    with Houses(erase="1h") as houses:
        doomed = Doomed(houses, "chat-deleted-before-the-kill")
        doomed.chat.a.delete(doomed.chat.name)
        doomed.wait_ended()
        for node in houses.nodes:
            node.sigkill()
        doomed.assert_there()
        doomed.close()
        for node in houses.nodes:
            node.replace("erase interval", "1s")
        marks = [node.mark() for node in houses.nodes]
        for node in houses.nodes:
            node.spawn()
        for node, mark in zip(houses.nodes, marks):
            node.wait_ready()
            node.wait_rotated(mark)
        doomed.assert_gone()
        assert on_disk(houses) == {}


# --- the pages --------------------------------------------------------------

def test_memory_is_locked_and_cannot_be_dumped(houses):
    with houses.stopped() as pids:
        for (_, process), pid in pids.items():
            proc = pathlib.Path(f"/proc/{pid}")
            limits = (proc / "limits").read_text()
            assert re.search(r"Max core file size +0 +0 ", limits), process
            # Not dumpable: what is in /proc/PID is root's, whoever runs it.
            if process != "parent":
                assert "Uid:\t0" not in (proc / "status").read_text()
            assert (proc / "mem").stat().st_uid == 0, process
            text = (proc / "status").read_text()
            locked = int(re.search(r"VmLck:\s+(\d+)", text)[1])
            if process == "keyd":
                # Slots, the stack, libcrypto's heap.
                assert locked >= 64 + 128 + 64
                pointer = int((proc / "syscall").read_text().split()[-2], 16)
                _, flags = mapping_of(mappings(pid), pointer)
                assert "lo" in flags


def test_own_user_cannot_read_keyd(houses):
    """Not even a process of keyd's user; which can, for one that allows."""
    user = pwd.getpwnam("_hermes_keyd")
    look = ("import os, sys; os.setgroups([]); os.setgid(%d); os.setuid(%d); "
            "open(f'/proc/{sys.argv[1]}/mem', 'rb')" % (
                user.pw_gid, user.pw_uid))

    def can_read(pid):
        return subprocess.run([sys.executable, "-c", look, str(pid)],
                              capture_output=True).returncode == 0
    sleeper = subprocess.Popen(["sleep", "1000"], user=user.pw_uid,
                               group=user.pw_gid, extra_groups=[])
    try:
        assert can_read(sleeper.pid)
    finally:
        sleeper.kill()
        sleeper.wait()
    for node in houses.nodes:
        assert not can_read(node.pids()["keyd"])


def test_the_journal_is_not_in_what_is_released():
    release = pathlib.Path(os.environ["RELEASE"])
    if not release.is_absolute():
        release = ROOT / release
    for build, there in ((BUILD, True), (release, False)):
        names = subprocess.run(["nm", build / "hermesd"], check=True,
                               capture_output=True, text=True).stdout
        assert "secret_free" in names
        assert ("keyscan" in names) == there
