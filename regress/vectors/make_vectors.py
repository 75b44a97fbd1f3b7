#!/usr/bin/python3
"""Test vectors of the tieline ratchet, from an implementation of its own.

Written from the design (section 5) and the headers common/sign/offer.h,
common/sign/ids.h and keyd/ratchet.h, with hashlib, PyNaCl and cryptography;
no code of Hermes is called. Every value follows from fixed seeds, so running
it again gives the same bytes:

    make_vectors.py [FOLDER]    writes ratchet.json and ratchet_vectors.h
"""

import hashlib
import hmac
import json
import pathlib
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.signing import SigningKey

AES, RESET, SHA512 = 1, 2, 4
LO, HI = 0, 1
ZERO = bytes(32)
NO_INSTANCE = bytes(16)


def seeded(*words):
    return hashlib.sha256("/".join(str(w) for w in words).encode()).digest()


def lp(data):
    return struct.pack(">I", len(data)) + data


def chat_handle(chat_id, one, other):
    return hashlib.blake2b(
        b"hermes-chat-handle-v1" + lp(chat_id.encode())
        + min(one, other) + max(one, other),
        digest_size=32).digest()


def commit_link(link):
    return hashlib.blake2b(b"hermes-link-v1" + link, digest_size=32).digest()


def kdf(chain, number):
    """crypto_kdf of libsodium: BLAKE2b keyed, salted, personalised."""
    return hashlib.blake2b(
        b"", digest_size=32, key=chain,
        salt=struct.pack("<Q", number) + bytes(8),
        person=b"hermes-t" + bytes(8)).digest()


def hkdf(digest, salt, ikm, info, length):
    prk = hmac.new(salt, ikm, digest).digest()
    okm, block, i = b"", b"", 1
    while len(okm) < length:
        block = hmac.new(prk, block + info + bytes([i]), digest).digest()
        okm += block
        i += 1
    return okm[:length]


class Side:
    """One end: keeps nothing of the other but what travels."""

    def __init__(self, chat, side):
        self.chat, self.side = chat, side
        self.link = ZERO
        self.version = 0
        self.instance = NO_INSTANCE

    def offer(self, version, flags):
        chat = self.chat
        self.secret = seeded(chat["name"], "ephemeral", self.side, version)
        link = ZERO if flags & RESET else self.link
        signed = (
            b"hermes-offer-v2" + chat["handle"]
            + struct.pack(">IIB", version, flags, self.side)
            + chat["apps"][LO] + chat["apps"][HI]
            + bytes(chat["nodes"][LO].verify_key)
            + bytes(chat["nodes"][HI].verify_key)
            + crypto_scalarmult_base(self.secret) + commit_link(link)
            + seeded(chat["name"], "app key", self.side)
            + struct.pack(">Q", 7 + self.side) + self.instance)
        signature = chat["nodes"][self.side].sign(signed).signature
        return {"version": version, "flags": flags, "signed": signed,
                "ephemeral": crypto_scalarmult_base(self.secret),
                "instance": self.instance,
                "encoded": signed + signature}

    def derive(self, own, peer):
        lo, hi = (own, peer) if self.side == LO else (peer, own)
        named = [o["instance"] for o in (lo, hi) if any(o["instance"])]
        self.instance = named[0] if named else hashlib.blake2b(
            b"hermes-instance-v1" + lo["signed"] + hi["signed"],
            digest_size=32).digest()[:16]
        reset = (own["flags"] | peer["flags"]) & RESET
        both = own["flags"] & peer["flags"]
        dh = crypto_scalarmult(self.secret, peer["ephemeral"])
        okm = hkdf("sha512" if both & SHA512 else "sha256",
                   ZERO if reset else self.link, dh,
                   b"hermes-tieline-v1" + lo["signed"] + hi["signed"], 96)
        chains = okm[:32], okm[32:64]
        self.send, self.receive = chains[self.side], chains[1 - self.side]
        self.link = okm[64:]
        self.version = own["version"]
        self.aes = bool(both & AES)
        self.counter = 0
        return {"chain_lo": chains[LO].hex(), "chain_hi": chains[HI].hex(),
                "link": self.link.hex(), "instance": self.instance.hex()}

    def skip(self):
        """A sender that crashed lost this counter."""
        self.send = kdf(self.send, 2)
        self.counter += 1

    def seal(self, sequence, plain):
        key, self.send = kdf(self.send, 1), kdf(self.send, 2)
        counter, self.counter = self.counter, self.counter + 1
        nonce = bytes(4) + struct.pack(">Q", counter)
        aad = (self.chat["handle"] + struct.pack(">IB", self.version,
                                                 self.side)
               + struct.pack(">QQ", counter, sequence))
        if self.aes:
            sealed = AESGCM(key).encrypt(nonce, plain, aad)
        else:
            sealed = crypto_aead_chacha20poly1305_ietf_encrypt(
                plain, aad, nonce, key)
        return {"version": self.version, "side": self.side,
                "counter": counter, "sequence": sequence,
                "plain": plain.hex(), "sealed": sealed.hex()}


# name, flags of (lo, hi) for versions 1, 2, 3
CASES = [
    ("chacha", [(0, 0), (0, 0), (0, 0)]),
    ("aes", [(AES, AES), (AES, AES), (AES, AES)]),
    ("mixed", [(AES, 0), (AES | SHA512, AES), (SHA512, SHA512)]),
    ("sha512", [(AES | SHA512, AES | SHA512)] * 3),
    ("reset", [(AES, AES), (0, 0), (AES, AES | RESET)]),
]


def make_case(name, flags):
    apps = sorted(bytes(SigningKey(seeded(name, "app", i)).verify_key)
                  for i in (LO, HI))
    chat = {"name": name, "apps": apps,
            "nodes": [SigningKey(seeded(name, "node", i)) for i in (LO, HI)],
            "handle": chat_handle("vector-" + name, *apps)}
    lo, hi = Side(chat, LO), Side(chat, HI)
    epochs, messages, sequences = [], [], [0, 0]
    for version, (flags_lo, flags_hi) in enumerate(flags, 1):
        if flags_hi & RESET:
            hi.instance = NO_INSTANCE   # its app is new there
        offers = lo.offer(version, flags_lo), hi.offer(version, flags_hi)
        derived = lo.derive(offers[LO], offers[HI])
        assert hi.derive(offers[HI], offers[LO]) == derived
        epochs.append({
            "version": version,
            "secret_lo": lo.secret.hex(), "secret_hi": hi.secret.hex(),
            "offer_lo": offers[LO]["encoded"].hex(),
            "offer_hi": offers[HI]["encoded"].hex(), **derived})
        for i in range(4):
            for side in (lo, hi):
                if i == 2:
                    for _ in range(3 + side.side):
                        side.skip()
                sequences[side.side] += 1
                text = "%s %d of %d from %d" % (name, i, version, side.side)
                messages.append(side.seal(
                    sequences[side.side], b"" if i == 3 else text.encode()))
    return {"name": name, "chat_id": "vector-" + name,
            "app_lo": apps[LO].hex(), "app_hi": apps[HI].hex(),
            "handle": chat["handle"].hex(),
            "epochs": epochs, "messages": messages}


def c_strings(text):
    step = 64
    parts = [text[i:i + step] for i in range(0, len(text), step)] or [""]
    return "\n".join('\t\t    "%s"' % part for part in parts)


def to_header(cases):
    out = ["/* Made by regress/vectors/make_vectors.py: do not edit. */",
           "/* clang-format off */", "",
           "static const struct vector_epoch {",
           "\tconst char\t*name;", "\tuint32_t\t version;"]
    epoch_fields = ["secret_lo", "secret_hi", "offer_lo", "offer_hi",
                    "chain_lo", "chain_hi", "link", "instance"]
    out += ["\tconst char\t*%s;" % f for f in epoch_fields]
    out.append("} vector_epochs[] = {")
    for case in cases:
        for epoch in case["epochs"]:
            out.append('\t{ "%s", %d,' % (case["name"], epoch["version"]))
            for field in epoch_fields:
                out.append(c_strings(epoch[field]) + ",")
            out.append("\t},")
    out += ["};", "", "static const struct vector_message {",
            "\tconst char\t*name;", "\tuint32_t\t version;",
            "\tuint32_t\t side;", "\tuint64_t\t counter;",
            "\tuint64_t\t sequence;", "\tconst char\t*plain;",
            "\tconst char\t*sealed;", "} vector_messages[] = {"]
    for case in cases:
        for message in case["messages"]:
            out.append('\t{ "%s", %d, %d, %d, %d,' % (
                case["name"], message["version"], message["side"],
                message["counter"], message["sequence"]))
            out.append(c_strings(message["plain"]) + ",")
            out.append(c_strings(message["sealed"]) + ",")
            out.append("\t},")
    out += ["};", "", "static const struct vector_chat {",
            "\tconst char\t*name;", "\tconst char\t*chat_id;",
            "\tconst char\t*app_lo;", "\tconst char\t*app_hi;",
            "\tconst char\t*handle;", "} vector_chats[] = {"]
    for case in cases:
        out.append('\t{ "%s", "%s",' % (case["name"], case["chat_id"]))
        for field in ("app_lo", "app_hi", "handle"):
            out.append(c_strings(case[field]) + ",")
        out.append("\t},")
    out += ["};", ""]
    return "\n".join(out)


def make():
    cases = [make_case(name, flags) for name, flags in CASES]
    return (json.dumps(cases, indent=1) + "\n", to_header(cases))


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1
                          else pathlib.Path(__file__).parent)
    text, header = make()
    (folder / "ratchet.json").write_text(text)
    (folder / "ratchet_vectors.h").write_text(header)


if __name__ == "__main__":
    main()
