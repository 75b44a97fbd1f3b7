"""A member of the mesh by a real ticket, with channels to all its nodes, that
says what a test wants. See mesh_member.py."""

import hashlib
import os
import queue
import struct
import threading

import grpc

from hermes_wire import connect_bytes, mesh_pb
from mesh_member import Member, lp, now_nanos


class Route:
    """A RouteChat stream that a test writes on."""

    def __init__(self, channel):
        self.frames = queue.SimpleQueue()
        self.call = Member.route(mesh_pb, channel,
                                 iter(self.frames.get, None))
        self.heard = []
        self.status = None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for frame in self.call:
                self.heard.append(frame)
            self.status = self.call.code()
        except grpc.RpcError as error:
            self.status = error.code()

    def say(self, **body):
        self.frames.put(mesh_pb.RouteFrame(**body))

    def close(self):
        self.frames.put(None)
        self.call.cancel()


class Mallory:
    """A member by a real ticket, with channels to both nodes."""

    def __init__(self, mesh, name):
        self.member = Member(name)
        self.mesh = mesh
        ticket = mesh[0].ctl("ticket", "--ttl", "1h")["ticket"]
        self.channels = []
        first = self.channel(mesh[0])
        self.member.join(mesh_pb, first, ticket)
        self.to = [self.channel(node) for node in mesh.nodes]

    def channel(self, node):
        host, port = node.mesh.rsplit(":", 1)
        self.channels.append(self.member.channel(host, int(port)))
        return self.channels[-1]

    def close(self):
        for channel in self.channels:
            channel.close()


def attestation(identity, node_key, node_id, key=None):
    """common/sign/attestation.h, ATTESTATION_ENCODED bytes."""
    issued = now_nanos()
    expires = issued + 3600 * 10**9
    nonce = os.urandom(32)
    signature = (key or identity).sign(connect_bytes(
        node_key, nonce, node_id, issued, expires, {}))
    name = node_id.encode().ljust(64, b"\0")
    return (struct.pack(">B", 2) + identity.public + node_key + nonce + name +
            struct.pack(">qq", issued, expires) +
            hashlib.sha256(b"").digest() + signature)


def handle(name, one, two):
    """What names a chat of two apps."""
    low, high = sorted((one.public, two.public))
    return hashlib.blake2b(
        b"hermes-chat-handle-v1" + lp(name.encode()) + low + high,
        digest_size=32).digest()
