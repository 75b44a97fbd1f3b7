"""hermesctl backup and restore on real nodes: a node comes back as itself,
its mesh and its authority with it, and no ratchet ever does."""

import os
import re
import shutil
import stat
import struct

import nacl.bindings as sodium
import nacl.pwhash
import pytest

from hermes_node import Mesh, Node, join, until, wait_alive
from hermes_wire import Identity, Session, meet

KEPT = {1, 5, 6, 7, 8}  # enum store_table: not the chats, 2 to 4
SECRET = "correct horse battery staple"


def keystore(node):
    return re.search(r'path "(.*?)"', node.config.read_text()).group(1)


def own(node):
    """The file with the passphrase of the node's own store."""
    return node.config.parent / "passphrase"


def backup(node, path, secret=SECRET, *more):
    return node.ctl_run("backup", path, "--store-passphrase", own(node),
                        *more, stdin=secret + "\n")


def restore(node, path, secret=SECRET, *more):
    return node.ctl_run("restore", path, "--store-passphrase", own(node),
                        *more, stdin=secret + "\n")


def summary(node):
    return node.ctl("show")["summary"]


def records(path, secret=SECRET):
    """What a backup holds, opened as keyd/backup.h says: (table, name,
    data) of each record."""
    data = path.read_bytes()
    head, stream = data[:48], data[48:72]
    ops, memory = struct.unpack(">QQ", head[16:32])
    key = nacl.pwhash.argon2id.kdf(32, secret.encode(), head[32:], ops,
                                   memory)
    state = sodium.crypto_secretstream_xchacha20poly1305_state()
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(state, stream,
                                                           key)
    plain, tag, at = [], 0, 72
    while tag != sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL:
        size = int.from_bytes(data[at:at + 4], "big")
        one, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(
            state, data[at + 4:at + 4 + size], head)
        plain.append(one)
        at += 4 + size
    assert at == len(data)
    assert int.from_bytes(plain[-1], "big") == len(plain) - 2
    found = []
    for one in plain[1:-1]:
        length = int.from_bytes(one[1:3], "big")
        found.append((one[0], one[3:3 + length], one[3 + length:]))
    return found


def lose(node):
    """The machine is lost: all that the node had, and its passphrase."""
    node.sigkill()
    store = keystore(node)
    owner = os.stat(store)
    shutil.rmtree(store)
    os.mkdir(store, 0o700)
    os.chown(store, owner.st_uid, owner.st_gid)
    (node.config.parent / "passphrase").write_text("another one\n")
    node.start()


def restored(node, run):
    assert run.returncode == 0, run
    assert run.stdout == "restored\n"
    node.wait_ready()


@pytest.fixture
def mesh():
    with Mesh(2) as two:
        yield two


class Chat:
    def __init__(self, mesh, name="kept"):
        self.name = name
        self.mesh = mesh
        self.a, self.b = (Session(node.app, Identity())
                          for node in mesh.nodes)
        self.connect(self.a, self.b)

    def connect(self, *apps):
        for app in apps:
            app.connect()
        meet(self.a, self.b)

    def begin(self):
        self.a.start(self.name, self.b.identity)
        self.b.start(self.name, self.a.identity)
        return [app.wait_ready(self.name) for app in (self.a, self.b)]

    def flow(self, first, count=3):
        for one, other in ((self.a, self.b), (self.b, self.a)):
            for i in range(first, first + count):
                one.message(self.name, i, b"%d" % i)
            for i in range(first, first + count):
                assert other.received(self.name) == (i, b"%d" % i)
                one.acked(self.name, i)

    def back(self, place):
        """The app of a node that was started again."""
        old = (self.a, self.b)[place]
        old.close()
        new = Session(self.mesh[place].app)
        new.identity = old.identity
        if place:
            self.b = new
        else:
            self.a = new
        self.connect(new)
        return new

    def close(self):
        self.a.close()
        self.b.close()


@pytest.mark.parametrize("place,later", [(0, 1), (1, 1), (1, 20)], ids=[
    "authority", "member", "member-long-after"])
def test_a_node_comes_back(mesh, place, later):
    """Taken with a live chat, put into an empty store: the same node in the
    same mesh without a ticket, the authority too, but no chat."""
    node, other = mesh[place], mesh[1 - place]
    chat = Chat(mesh)
    chat.begin()
    chat.flow(1)
    mesh[0].ctl("rekey", chat.name, "--wait")
    chat.flow(4)
    before = summary(node)
    certificate = node.ctl("show", "certificate")["certificate"]
    path = node.folder / "backup"
    run = backup(node, path)
    assert run.returncode == 0 and run.stdout == "backup written\n", run
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    # Nothing of the chat is in it, whoever opens it.
    found = records(path)
    assert {table for table, _, _ in found} <= KEPT
    assert {name for table, name, _ in found if table == 1} >= {
        b"identity", b"counters", b"mesh"}
    every = b"".join(name + data for _, name, data in found)
    for secret in (chat.name.encode(), chat.a.identity.public,
                   chat.b.identity.public):
        assert secret not in every
    # More happens after it: keys and messages.
    for _ in range(later):
        mesh[0].ctl("rekey", chat.name, "--wait")
    chat.flow(7)
    lose(node)
    assert summary(node)["node_key"] != before["node_key"]
    assert not summary(node)["in_mesh"]
    restored(node, restore(node, path))
    after = summary(node)
    for same in ("node_id", "node_key", "mesh_id", "in_mesh", "authority"):
        assert after[same] == before[same], same
    assert node.ctl("show", "certificate")["certificate"] == certificate
    for one in mesh.nodes:
        wait_alive(one, 2)
    # No ratchet came back, and the peer is told what became of the chat.
    assert node.show("ratchets") == [] and node.show("chats") == []
    back = chat.back(place)
    mine, theirs = (chat.a, chat.b) if place == 0 else (chat.b, chat.a)
    assert mine is back
    assert theirs.deleted(chat.name) == "deleted_by_peer"
    until("the peer erased it", lambda: other.show("ratchets") == [])
    acks = chat.begin()
    assert [a.resumed for a in acks] == [False, False]
    # Above all keys that the chat of that name had.
    assert acks[0].key_version == acks[1].key_version == 3 + later
    chat.flow(1)
    chat.close()
    # It lives through a restart as any node does.
    node.sigkill()
    node.start()
    assert summary(node)["node_key"] == before["node_key"]
    wait_alive(other, 2)


def test_the_authority_goes_on(mesh):
    """Tickets, names and revocations are in the backup."""
    alpha, beta = mesh.nodes
    spare = alpha.ctl("ticket", "--ttl", "1h")["ticket"]
    with Node("gamma") as gamma, Node("delta") as delta, \
            Node("beta") as liar:
        gamma.ctl("join", alpha.ctl("ticket")["ticket"])
        wait_alive(alpha, 3)
        alpha.ctl("mesh", "revoke", "gamma")
        path = alpha.folder / "backup"
        assert backup(alpha, path).returncode == 0
        lose(alpha)
        restored(alpha, restore(alpha, path))
        wait_alive(alpha, 2)
        until("still revoked", lambda: any(
            row["node_id"] == "gamma" and row["state"] == "revoked"
            for row in alpha.show("nodes")))
        # A ticket of before, one of now, and a name that is taken.
        delta.ctl("join", spare)
        wait_alive(alpha, 3)
        run = liar.ctl_run("join", alpha.ctl("ticket")["ticket"])
        assert run.returncode == 1, run
        # Numbers of certificates are not used twice.
        ends = {n.ctl("show")["summary"]["node_key"]
                for n in (alpha, beta, delta)}
        assert len(ends) == 3


def test_the_authority_learns_what_came_after_the_backup(mesh):
    """Who joined since can be revoked, who was revoked since stays out; the
    members that are left tell."""
    alpha, beta = mesh.nodes
    path = alpha.folder / "backup"
    assert backup(alpha, path).returncode == 0
    with Node("gamma") as gamma, Node("delta") as delta:
        for node in (gamma, delta):
            node.ctl("join", alpha.ctl("ticket")["ticket"])
        for node in (alpha, beta):
            wait_alive(node, 4)
        alpha.ctl("mesh", "revoke", "delta")

        def states(node):
            return {row["node_id"]: row["state"] for row in node.show("nodes")}
        until("delta is out", lambda: states(beta)["delta"] == "revoked")
        lose(alpha)
        restored(alpha, restore(alpha, path))
        wait_alive(alpha, 3)
        until("gamma can be revoked", lambda: alpha.ctl(
            "mesh", "revoke", "gamma", ok=False)["ok"])
        until("gamma is out", lambda: states(beta)["gamma"] == "revoked")
        until("delta is out", lambda: states(alpha)["delta"] == "revoked")
        # By itself, too.
        beta.sigkill()
        alpha.sigkill()
        alpha.spawn()
        until("alpha is up", lambda: alpha.http("/healthz")[0] == 200)
        until("both are out", lambda: [states(alpha).get(name) for name in (
            "gamma", "delta")] == ["revoked"] * 2)
        again = alpha.ctl("ticket")["ticket"]
        for node in (gamma, delta):
            assert not node.ctl("join", again, ok=False)["ok"]


@pytest.fixture(scope="module")
def pair():
    """A founder with a backup of it, and its twin: an empty node of that
    name."""
    with Node("alpha") as alpha, Node("alpha") as twin:
        join(alpha)
        path = alpha.folder / "backup"
        assert backup(alpha, path).returncode == 0
        alpha.path = path
        yield alpha, twin


def unchanged(twin, before):
    now = summary(twin)
    assert {k: now[k] for k in ("node_key", "in_mesh", "unlocked")} == {
        k: before[k] for k in ("node_key", "in_mesh", "unlocked")}
    assert twin.healthy()


@pytest.mark.parametrize("harm,says", [
    ("empty", "not a backup"), ("text", "not a backup"),
    ("magic", "not a backup"), ("ops", "not a backup"),
    ("salt", "passphrase is wrong"), ("first", "passphrase is wrong"),
    ("middle", "damaged"), ("last", "damaged"), ("swapped", "damaged"),
    ("longer", "damaged"), ("short-1", "cut short"),
    ("short-200", "cut short"), ("no-end", "cut short"),
    ("size", "damaged"), ("wrong", "passphrase is wrong")])
def test_bad_files_change_nothing(pair, harm, says):
    alpha, twin = pair
    before = summary(twin)
    data = bytearray(alpha.path.read_bytes())
    frames, at = [], 48 + 24
    while at < len(data):
        size = 4 + int.from_bytes(data[at:at + 4], "big")
        frames.append(bytes(data[at:at + size]))
        at += size
    assert at == len(data) and len(frames) >= 5
    head = bytes(data[:48 + 24])
    secret = SECRET
    if harm == "empty":
        data = b""
    elif harm == "text":
        data = b"hermes1 " * 100
    elif harm == "magic":
        data[0] ^= 1
    elif harm == "ops":
        data[16] = 0xff
    elif harm == "salt":
        data[40] ^= 1
    elif harm == "first":
        data[len(head) + 10] ^= 1
    elif harm == "middle":
        data[len(data) // 2] ^= 1
    elif harm == "last":
        data[-1] ^= 1
    elif harm == "swapped":
        frames[2], frames[3] = frames[3], frames[2]
        data = head + b"".join(frames)
    elif harm == "longer":
        data += b"x"
    elif harm == "no-end":
        data = head + b"".join(frames[:-1])
    elif harm == "size":
        data[len(head) + len(frames[0])] = 0xff
    elif harm.startswith("short"):
        data = data[:-int(harm.split("-")[1])]
    else:
        secret = "wrong"
    path = twin.folder / "harmed"
    path.write_bytes(bytes(data))
    run = restore(twin, path, secret)
    assert run.returncode == 1, run
    assert says in run.stderr and len(run.stderr.splitlines()) == 1
    unchanged(twin, before)


def test_what_is_refused(pair):
    alpha, twin = pair
    text = alpha.path.read_bytes()
    # Not over a file that is there; nothing is left half done.
    run = backup(alpha, alpha.path)
    assert run.returncode == 1 and "--force" in run.stderr
    assert alpha.path.read_bytes() == text
    assert backup(alpha, alpha.path, SECRET, "--force").returncode == 0
    assert alpha.path.read_bytes() != text
    assert stat.S_IMODE(os.stat(alpha.path).st_mode) == 0o600
    assert backup(alpha, alpha.folder / "none" / "x").returncode == 1
    assert backup(alpha, alpha.folder / "y", "").returncode == 2
    assert sorted(p.name for p in alpha.folder.iterdir()) == [
        "backup", "log", "node"]
    assert restore(twin, twin.folder / "none").returncode == 1
    assert restore(twin, twin.folder).returncode in (1, 2)
    assert restore(twin, "/dev/zero").returncode == 2
    # Not over a node that is something already, nor as another one.
    run = restore(alpha, alpha.path)
    assert run.returncode == 1 and "--force" in run.stderr
    with Node("other") as other:
        run = restore(other, alpha.path)
        assert run.returncode == 1 and "of the node alpha" in run.stderr
        assert not summary(other)["in_mesh"]


def test_the_store_s_passphrase(pair):
    """Nobody gets or replaces a node's keys without it."""
    alpha, twin = pair
    path = alpha.folder / "z"
    right = own(alpha).read_text()
    before = summary(twin)
    for lines in (SECRET + "\n", right, f"{SECRET}\n{SECRET}\n", "\n"):
        run = alpha.ctl_run("backup", path, stdin=lines)
        assert run.returncode in (1, 2), run
        assert not path.exists()
    run = twin.ctl_run("restore", alpha.path, stdin=f"{SECRET}\n{SECRET}\n")
    assert run.returncode == 1 and "of the store is wrong" in run.stderr
    unchanged(twin, before)
    # Both are lines of standard input, the store's first.
    run = alpha.ctl_run("backup", path, stdin=right + SECRET + "\n")
    assert run.returncode == 0, run
    assert records(path)
    path.unlink()
    # A file of it that others may read is none.
    copy = alpha.folder / "copy"
    copy.write_text(right)
    for mode in (0o640, 0o604, 0o622):
        copy.chmod(mode)
        run = alpha.ctl_run("backup", path, "--store-passphrase", copy,
                            stdin=SECRET + "\n")
        assert run.returncode == 1 and "none but its owner" in run.stderr
        assert not path.exists()
    copy.unlink()


def test_another_passphrase():
    """With a live chat; the old one opens nothing from then on, and wrong
    ones are not tried as fast as they come."""
    with Mesh(2) as mesh:
        node = mesh[0]
        chat = Chat(mesh)
        chat.begin()
        chat.flow(1)
        old = own(node).read_text().strip()
        rotations = node.metric("hermes_store_key_rotations_total")
        run = node.ctl_run("passphrase", stdin=f"wrong\n{SECRET}\n")
        assert run.returncode == 1 and "is wrong" in run.stderr, run
        run = node.ctl_run("passphrase", stdin=f"{old}\n{SECRET}\n")
        assert run.returncode == 0, run
        assert run.stdout == "passphrase changed\n"
        assert node.metric("hermes_store_key_rotations_total") > rotations
        assert sorted(p for p in os.listdir(keystore(node))
                      if p.startswith("keyring")) == ["keyring"]
        chat.flow(4)
        key = summary(node)["node_key"]
        # The file still has the old one: the node starts and stays locked.
        node.sigkill()
        node.spawn()
        until("locked", lambda: "keyd locked" in str(node.http("/readyz")))
        until("refused", lambda: "wrong passphrase" in node.log())
        runs = [node.ctl_run("unlock", stdin=f"{old}\n") for _ in range(6)]
        assert all(run.returncode == 1 for run in runs)
        assert any("too many wrong" in run.stderr for run in runs)
        until("unlocked", lambda: node.ctl_run(
            "unlock", stdin=SECRET + "\n").returncode == 0)
        node.wait_ready()
        assert summary(node)["node_key"] == key
        own(node).write_text(SECRET + "\n")
        assert node.stop() == 0
        node.start()
        chat.back(0)
        acks = chat.begin()
        assert all(ack.resumed for ack in acks)
        chat.flow(7)
        chat.close()


def test_force_replaces_everything(pair):
    """Chats too: nothing of before remains, on disk neither."""
    alpha, _ = pair
    a, b = Session(alpha.app), Session(alpha.app)
    with a, b:
        a.connect(), b.connect()
        meet(a, b)
        a.start("gone", b.identity)
        b.start("gone", a.identity)
        a.wait_ready("gone")
    with Node("later") as later:
        later.ctl("join", alpha.ctl("ticket")["ticket"])
        wait_alive(alpha, 2)
        key = summary(alpha)["node_key"]
        rotations = alpha.metric("hermes_store_key_rotations_total")
        restored(alpha, restore(alpha, alpha.path, SECRET, "--force"))
        assert summary(alpha)["node_key"] == key
        assert alpha.show("ratchets") == []
        assert alpha.metric("hermes_store_key_rotations_total") > rotations
        # Who joined since finds it again.
        wait_alive(later, 2)
        assert alpha.stop() == 0
        alpha.start()
        assert summary(alpha)["node_key"] == key


def test_a_backup_shows_nothing(pair):
    """No name, no key, no word of the passphrase; and no two are alike."""
    alpha, _ = pair
    text = alpha.path.read_bytes()
    facts = summary(alpha)
    for value in (b"alpha", SECRET.encode(), bytes.fromhex(facts["mesh_id"]),
                  bytes.fromhex(facts["node_key"])):
        assert value not in text
    path = alpha.folder / "second"
    assert backup(alpha, path).returncode == 0
    assert path.read_bytes()[48:80] != text[48:80]
    assert SECRET not in alpha.log()
    path.unlink()


def test_locked():
    with Node("locked") as node:
        assert node.stop() == 0
        text = node.config.read_text()
        node.config.write_text(re.sub(r"\tpassphrase file .*\n", "", text))
        node.spawn()
        until("admin up", lambda: node.http("/readyz")[0] == 503)
        path = node.folder / "backup"
        for run in (backup(node, path), node.ctl_run(
                "passphrase", stdin="one\nanother\n")):
            assert run.returncode == 1 and "locked" in run.stderr
        assert not path.exists()
