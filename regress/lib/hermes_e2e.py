"""The end-to-end layer of two apps, written apart from libhermes, from the
text at the head of client/lib_e2e.h: hashlib, python3-nacl, cryptography."""

import hashlib
import os

import nacl.bindings as sodium
import nacl.signing
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from mesh_member import lp

MARK = 0xE2
NONE = bytes(32)


def chat_handle(chat_id, one, other):
    lo, hi = sorted([one, other])
    return hashlib.blake2b(
        b"hermes-chat-handle-v1" + lp(chat_id.encode()) + lo + hi,
        digest_size=32).digest()


def _pair(data, key=b""):
    out = hashlib.blake2b(data, key=key, digest_size=64).digest()
    return out[:32], out[32:]


def _step(chain):
    return [hashlib.blake2b(bytes([n]), key=chain, digest_size=32).digest()
            for n in (2, 1)]  # the next chain key, this message's key


class Ratchet:
    """One app's end. peer: the other app's Ed25519 key."""

    def __init__(self, identity, peer, chat_id):
        self.identity, self.peer = identity, peer
        self.handle = chat_handle(chat_id, identity.public, peer)
        self.lo = identity.public < peer
        self.secret = os.urandom(32)
        self.key = sodium.crypto_scalarmult_base(self.secret)
        self.answered = b""

    def _signed(self, side, key, answered):
        return (b"hermes-e2e-key-v1" + self.handle + bytes([side]) + key +
                answered)

    def begin(self, peer_key):
        """The session of both announced keys."""
        dh = sodium.crypto_scalarmult(self.secret, peer_key)
        lo, hi = ((self.key, peer_key) if self.lo else (peer_key, self.key))
        self.root, chain = _pair(
            b"hermes-e2e-session-v1" + dh + self.handle + lo + hi)
        self.id = hashlib.blake2b(lo + hi, digest_size=32).digest()[:8]
        self.answered = peer_key
        self.sent = self.received = 0
        self.confirmed = False
        if self.lo:
            self.theirs, self.receiving, self.due = peer_key, chain, True
        else:
            self.own, self.own_public = self.secret, self.key
            self.sending, self.theirs, self.due = chain, None, False

    def _root(self):
        dh = sodium.crypto_scalarmult(self.own, self.theirs)
        self.root, chain = _pair(b"hermes-e2e-step-v1" + dh, self.root)
        return chain

    def _aad(self, lo, sequence, header):
        return (self.handle + (b"\0" if lo else b"\1") +
                sequence.to_bytes(8, "big") + header)

    def seal(self, sequence, plain):
        if self.due:
            self.own = os.urandom(32)
            self.own_public = sodium.crypto_scalarmult_base(self.own)
            self.sending, self.sent, self.due = self._root(), 0, False
        header = (bytes([MARK, 0 if self.confirmed else 1]) + self.id +
                  self.own_public + self.sent.to_bytes(4, "big"))
        if not self.confirmed:
            header += self.key + self.answered + self.identity.sign(
                self._signed(0 if self.lo else 1, self.key, self.answered))
        self.sending, key = _step(self.sending)
        self.sent += 1
        return header + ChaCha20Poly1305(key).encrypt(
            bytes(12), plain, self._aad(self.lo, sequence, header))

    def open(self, sequence, sealed):
        assert sealed[0] == MARK and sealed[1] in (0, 1)
        length = 46 + (128 if sealed[1] else 0)
        header, theirs = sealed[:length], sealed[10:42]
        assert header[2:10] == self.id
        if sealed[1]:
            key, answered = header[46:78], header[78:110]
            nacl.signing.VerifyKey(self.peer).verify(
                self._signed(1 if self.lo else 0, key, answered),
                header[110:])
            assert (key, answered) == (self.answered, self.key)
        if theirs != self.theirs:
            assert not self.due
            self.theirs = theirs
            self.receiving, self.received, self.due = self._root(), 0, True
        number = int.from_bytes(header[42:46], "big")
        assert number >= self.received
        while self.received <= number:
            self.receiving, key = _step(self.receiving)
            self.received += 1
        self.confirmed = True
        return ChaCha20Poly1305(key).decrypt(
            bytes(12), sealed[length:],
            self._aad(not self.lo, sequence, header))
