"""A node that does to libhermes what a test tells it to: each stream is
handed to a script that reads and writes frames as it likes."""

import concurrent.futures
import os
import queue
import threading
from datetime import datetime, timedelta
import hashlib
import ipaddress

import grpc
import nacl.signing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hermes_wire import OPEN, WAIT, challenge_bytes, pb


class Stream:
    """One stream as the node sees it."""

    def __init__(self, node, frames, context):
        self.node = node
        self.frames = frames
        self.context = context
        self.out = queue.SimpleQueue()
        self.connect = None

    def send(self, correlation="", **body):
        self.out.put(pb.AppFrame(correlation_id=correlation, **body))

    def read(self):
        """Frames until the app leaves, in whatever way."""
        try:
            yield from self.frames
        except grpc.RpcError:
            return

    def receive(self, what):
        """The next frame, which must be `what`; heartbeats are echoed."""
        for frame in self.read():
            kind = frame.WhichOneof("body")
            if kind == "heartbeat" and what != "heartbeat":
                self.send(heartbeat=frame.heartbeat)
                continue
            assert kind == what, (kind, what)
            self.correlation = frame.correlation_id
            return getattr(frame, what)
        raise ConnectionError("the app left")

    def greet(self, window=256, signer=None, key=None):
        """Challenge, Connect, ConnectAck."""
        node = self.node
        nonce = os.urandom(32)
        self.send(challenge=pb.Challenge(
            nonce=nonce, node_id="fake", mesh_id="",
            node_public_key=key or bytes(node.identity.verify_key),
            signature=(signer or node.identity).sign(challenge_bytes(
                nonce, "fake", "", node.spki)).signature))
        self.connect = self.receive("connect")
        self.send(connect_ack=pb.ConnectAck(
            assigned_session_id="0" * 32, node_id="fake",
            max_message_size=1 << 20, chat_window=window))

    def ready(self, **ack):
        """Take a StartChat and say that the chat is ready."""
        start = self.receive("start_chat")
        ack.setdefault("key_version", 1)
        ack.setdefault("next_send_sequence", 1)
        ack.setdefault("next_receive_sequence", 1)
        self.send(self.correlation, start_chat_ack=pb.StartChatAck(
            chat_id=start.chat_id, peer_app_id=start.target_app_id, **ack))
        self.chat, self.peer = start.chat_id, start.target_app_id
        return start

    def message(self, sequence, payload=b"x"):
        self.send(chat_message=pb.ChatMessage(
            chat_id=self.chat, sequence=sequence, payload=payload,
            peer_app_id=self.peer))

    def ack(self, sequence):
        self.send(chat_message_ack=pb.ChatMessageAck(
            chat_id=self.chat, sequence=sequence, peer_app_id=self.peer))

    def error(self, code, correlation="", **fields):
        self.send(correlation, error=pb.Error(
            code=code, message="as told", chat_id=self.chat,
            peer_app_id=self.peer, **fields))

    def gone(self, status, chat=None, peer=None):
        self.send(delete_chat_ack=pb.DeleteChatAck(
            chat_id=chat or self.chat, peer_app_id=peer or self.peer,
            status=status))

    def offer(self, chat, peer):
        self.send(start_chat=pb.StartChat(
            chat_id=chat, source_app_id=peer,
            target_app_id=self.connect.app_public_key.hex()))

    def drain(self):
        """Read until the app leaves."""
        for frame in self.read():
            if frame.WhichOneof("body") == "heartbeat":
                self.send(heartbeat=frame.heartbeat)


class FakeNode:
    """Serves scripts in turn, one a stream; the last one serves the rest.
    What a script raised, or returned, is in results."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.identity = nacl.signing.SigningKey.generate()
        self.results = queue.Queue()
        self.lock = threading.Lock()
        key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._certificate(key)
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        self.server.add_generic_rpc_handlers((self,))
        credentials = grpc.ssl_server_credentials([(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()), self.certificate)])
        port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{port}"
        self.server.start()

    def _certificate(self, key):
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake")])
        self.spki = hashlib.sha256(key.public_key().public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo)).digest()
        now = datetime.utcnow()
        return (x509.CertificateBuilder().subject_name(name)
                .issuer_name(name).public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(hours=1))
                .not_valid_after(now + timedelta(days=1))
                .add_extension(x509.SubjectAlternativeName(
                    [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                    critical=False)
                .sign(key, hashes.SHA256())
                .public_bytes(serialization.Encoding.PEM))

    def service(self, details):
        if details.method != OPEN:
            return None
        return grpc.stream_stream_rpc_method_handler(
            self._open, pb.AppFrame.FromString,
            pb.AppFrame.SerializeToString)

    def _open(self, frames, context):
        with self.lock:
            script = self.scripts[0]
            if len(self.scripts) > 1:
                self.scripts.pop(0)
        stream = Stream(self, frames, context)

        def run():
            try:
                self.results.put(script(stream))
            except Exception as error:  # seen by the test in results
                self.results.put(error)
            stream.out.put(None)

        threading.Thread(target=run, daemon=True).start()
        yield from iter(stream.out.get, None)

    def result(self, timeout=WAIT):
        """What the next script to end returned; raises what it raised."""
        result = self.results.get(timeout=timeout)
        if isinstance(result, Exception):
            raise result
        return result

    def stop(self):
        self.server.stop(None).wait(WAIT)
