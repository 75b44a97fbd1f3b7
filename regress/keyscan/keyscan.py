"""The journal of keys that keyd keeps in the keyscan build, and searches of
memory and disk for what is in it. Root only: no other may read keyd."""

import collections
import contextlib
import os
import pathlib
import re
import signal
import struct
import subprocess
import tempfile

import nacl.bindings
import nacl.exceptions

from hermes_node import BUILD, Node, state, until

SCAN = str(BUILD / "regress" / "keyscan" / "scan")
KINDS = ("start", "node", "authority", "tls", "ephemeral", "dh", "prk", "link",
         "chain", "message", "store", "names", "wrapping", "passphrase")
SHARED = ("link", "chain")  # of both ends of a chat
FORMS = ("plain", "swapped", "inner pad", "inner pad swapped", "outer pad",
         "outer pad swapped", "reversed")
EPOLL_WAIT = ("232", "281")  # and epoll_pwait(2), of x86-64, in proc(5)

Hit = collections.namedtuple("Hit", "target offset key kind form")


class Journal:
    """What keyd made and wiped, in order."""

    def __init__(self, path):
        self.path = path

    def records(self):
        """[(made, kind, bytes)]. One that is just being written is seen in
        part where it goes over the end of a page: it is waited for."""
        def whole():
            records = _records(self.path.read_bytes())
            return records is not None and [records]
        return until("the journal ends with a whole record", whole)[0]

    def held(self):
        """({live key: kind}, {dead key: kind}, {key of SHARED: how many ends
        have it}) by the last word on each. A new keyd holds nothing of the
        old one but what it makes again. Where both ends of a chat are here,
        each has its own copy of a key, and it dies with the last."""
        live, dead, ends = {}, {}, collections.Counter()
        for made, kind, key in self.records():
            if kind == "start":
                dead.update(live)
                live.clear()
                ends.clear()
            elif made:
                live[key] = kind
                dead.pop(key, None)
                ends[key] += kind in SHARED
                assert ends[key] <= 2, kind
            else:
                ends[key] -= ends[key] > 0
                if ends[key] == 0:
                    live.pop(key, None)
                    dead[key] = kind
        return live, dead, ends

    def keys(self):
        """({live key: kind}, {dead key: kind})."""
        return self.held()[:2]

    def live(self, *kinds):
        return {k: v for k, v in self.keys()[0].items()
                if not kinds or v in kinds}

    def dead(self, *kinds):
        return {k: v for k, v in self.keys()[1].items()
                if not kinds or v in kinds}

    def end_of(self, keys):
        """Where the last of keys died; all of them are dead."""
        died = {key: at for at, (made, _, key) in enumerate(
            self.records(), 1) if not made}
        return max(died[key] for key in keys)


def _records(data):
    """None when the last one is not whole."""
    at, out = 0, []
    while at + 4 <= len(data):
        made, kind, length = struct.unpack_from("=BBH", data, at)
        out.append((made, KINDS[kind], data[at + 4:at + 4 + length]))
        at += 4 + length
    return out if at == len(data) else None


class House(Node):
    """A node whose keyd keeps a journal."""

    def __init__(self, name, **arguments):
        super().__init__(name, **arguments)
        self.keystore = self.config.parent / "keystore"
        path = self.keystore / "keyscan"
        path.touch()
        path.chmod(0o666)  # in a folder that is keyd's alone
        self.journal = Journal(path)

    def files(self):
        """Everything the node has on disk, but for the journal."""
        return sorted(str(p) for p in self.folder.rglob("*")
                      if p.is_file() and p != self.journal.path)

    # --- waiting for erasure --------------------------------------------

    def mark(self):
        """Where the journal is now."""
        return len(self.journal.records())

    def wait_rotated(self, mark):
        """A rotation that began after mark has ended."""
        until(f"{self.name} rotated its store key",
              lambda: _rotated(self.journal.records()[mark:]))

    # --- settings -------------------------------------------------------

    def replace(self, setting, value):
        """Give a setting of the keystore a value in the file."""
        text = self.config.read_text()
        text = re.sub(rf"\t{setting} .*\n", "", text)
        self.config.write_text(
            f"{text}keystore {{\n\t{setting} {value}\n}}\n")

    def set(self, setting, value):
        """The same, and reload."""
        self.replace(setting, value)
        before = self.log().count("event=reloaded")
        self.ctl("reload")
        until("reloaded", lambda: self.log().count(
            "event=reloaded") > before)

    # --- what the passphrase opens --------------------------------------

    def unwrap(self):
        """With the passphrase and the file "keyring" alone: (wrapping key,
        key of names, [store keys]). As keyd/seal.c says it is."""
        ring = (self.keystore / "keyring").read_bytes()
        phrase = (self.config.parent / "passphrase").read_bytes().rstrip(
            b"\r\n")
        magic, ops, memory, salt = struct.unpack_from(">16sQQ16s", ring)
        assert magic == b"hermes-keyring1\0"
        wrapping = nacl.bindings.crypto_pwhash_alg(
            32, phrase, salt, ops, memory,
            nacl.bindings.crypto_pwhash_ALG_ARGON2ID13)
        names = _unbox(wrapping, ring[:48], 0, ring[48:])
        stores = [_unbox(wrapping, ring[:48], *struct.unpack_from(
            ">Q", ring, at), ring[at + 8:]) for at in (512, 1024)]
        assert names is not None
        return wrapping, names, [key for key in stores if key is not None]


def _unbox(wrapping, head, number, wrapped):
    """A wrapped key, or None when it does not open."""
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            wrapped[24:72], head + struct.pack(">Q", number), wrapped[:24],
            wrapping)
    except nacl.exceptions.CryptoError:
        return None


def _rotated(records):
    """A store key was made, and after it one destroyed."""
    made = None
    for is_made, kind, key in records:
        if kind == "store" and is_made:
            made = key
        elif kind == "store" and made not in (None, key):
            return True
    return False


@contextlib.contextmanager
def stopped(*nodes):
    """All processes of nodes stand still; {(node name, process): pid}."""
    pids = {}
    for node in nodes:
        pids[node.name, "parent"] = node.process.pid
        for name, pid in node.pids().items():
            pids[node.name, name] = pid
    keyds = [pid for (_, process), pid in pids.items() if process == "keyd"]
    try:
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        until("all stopped",
              lambda: all(state(pid) == "T" for pid in pids.values()))
        for pid in keyds:
            until("keyd at rest", lambda pid=pid: _at_rest(pid))
        yield pids
    finally:
        for pid in pids.values():
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass


def _at_rest(pid):
    """Is this stopped process between two turns of its event loop? If not,
    it goes on until it is, and stops again. In a turn a key that the journal
    calls dead may be just about to be wiped, and one that lives be there once
    more."""
    def waits():
        call = pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0]
        return call in EPOLL_WAIT
    if waits():
        return True
    os.kill(pid, signal.SIGCONT)
    until("keyd waits", waits)
    os.kill(pid, signal.SIGSTOP)
    until("stopped again", lambda: state(pid) == "T")
    return False


def _scan(keys, *arguments):
    """[Hit] of {bytes: kind}, and {target: bytes looked at}."""
    order = list(keys)
    with tempfile.NamedTemporaryFile() as patterns:
        for key in order:
            patterns.write(struct.pack("=H", len(key)) + key)
        patterns.flush()
        run = subprocess.run([SCAN, patterns.name, *map(str, arguments)],
                             capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    hits, ends = [], {}
    for line in run.stdout.splitlines():
        word, target, *rest = line.split()
        if word == "end":
            ends[target] = int(rest[0])
        else:
            key = order[int(rest[1])]
            hits.append(Hit(target, int(rest[0], 16), key, keys[key],
                            FORMS[int(rest[2])]))
    return hits, ends


def in_memory(keys, *pids):
    """[Hit] in the memory of stopped processes. All of it is read."""
    hits, ends = _scan(keys, "mem", *pids)
    assert set(ends) == {str(pid) for pid in pids}
    for pid in pids:
        rss = re.search(r"VmRSS:\s+(\d+)", pathlib.Path(
            f"/proc/{pid}/status").read_text())
        assert ends[str(pid)] >= int(rss[1]) * 1024 * 0.9
    return hits


def in_files(keys, *files):
    """[Hit] in files as they are."""
    hits, ends = _scan(keys, "file", *files)
    assert len(ends) == len(set(files))
    return hits


def in_opened(keys, openers, *files):
    """[Hit] in what any part of files becomes when it is opened with any of
    openers, whatever the tag says."""
    with tempfile.NamedTemporaryFile() as out:
        out.write(b"".join(openers))
        out.flush()
        hits, ends = _scan(keys, "open", out.name, *files)
    assert len(ends) == len(set(files))
    return hits


def mappings(pid):
    """[(from, to, name, set of VmFlags)]."""
    out = []
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)",
                        line)
        if head:
            out.append([int(head[1], 16), int(head[2], 16), head[3], set()])
        elif line.startswith("VmFlags:"):
            out[-1][3] = set(line.split()[1:])
    return out


def mapping_of(maps, offset):
    for start, end, name, flags in maps:
        if start <= offset < end:
            return name or "anonymous", flags
    return "none", set()


def count(hits, names=None, maps=None):
    """What was found where, short enough to read."""
    names, maps = names or {}, maps or {}
    out = collections.Counter()
    for h in hits:
        where = names.get(h.target, h.target)
        if h.target in maps:
            name, flags = mapping_of(maps[h.target], h.offset)
            where = f"{where} {name} {'locked' if 'lo' in flags else ''}"
        out[where, h.kind, h.form] += 1
    return dict(out)


def custody(nodes, pids, keys):
    """Search the memory of all processes for keys: which hits are where no
    key may be. keyd may hold the keys that live, in pages that are locked and
    kept out of dumps; one of a chat once for each end that is there."""
    wrong, where = [], {}
    names = {str(pid): " ".join(name) for name, pid in pids.items()}
    maps = {str(pid): mappings(pid) for pid in pids.values()}
    for (node, process), pid in pids.items():
        live, ends = {}, {}
        if process == "keyd":
            live, _, ends = next(
                n for n in nodes if n.name == node).journal.held()
        ends_at = {}
        for hit in in_memory(keys, pid):
            _, flags = mapping_of(maps[str(pid)], hit.offset)
            where.setdefault(process, set()).add(hit.key)
            if hit.key not in live or not {"lo", "dd"} <= flags:
                wrong.append(hit)
            # Pieces of one copy are found one behind the other.
            elif hit.kind in SHARED and hit.offset >= ends_at.get(hit.key, 0):
                ends_at[hit.key] = hit.offset + len(hit.key)
                ends[hit.key] -= 1
                if ends[hit.key] < 0:
                    wrong.append(hit)
    return count(wrong, names, maps), where
