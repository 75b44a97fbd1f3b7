"""The app's side of the wire contract, written apart from Hermes: message
classes made from proto/ at test time, what is signed, and a session whose
every frame a test can make wrong. grpcio, python3-nacl, python3-protobuf."""

import atexit
import collections
import hashlib
import importlib
import os
import pathlib
import queue
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import types

import grpc
import nacl.signing
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mesh_member import lp, metadata_hash, u64

ROOT = pathlib.Path(__file__).resolve().parents[2]
OPEN = "/approuter.v1.AppRouter/Open"
OPTIONS = (("grpc.enable_http_proxy", 0),
           ("grpc.max_receive_message_length", 64 << 20),
           ("grpc.max_send_message_length", 64 << 20))
WAIT = 90  # seconds until a state that must come has not come


def _compile():
    out = tempfile.mkdtemp(prefix="hermes-proto-")
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    files = sorted(str(p) for p in (ROOT / "proto").glob("*.proto"))
    subprocess.run(["protoc", f"--proto_path={ROOT / 'proto'}",
                    f"--python_out={out}", *files], check=True)
    sys.path.insert(0, out)
    names = [pathlib.Path(f).stem for f in files]
    return types.SimpleNamespace(
        **{n: importlib.import_module(f"{n}_pb2") for n in names})


protos = _compile()
pb = protos.approuter
mesh_pb = protos.nodemesh


# --- what is signed ---------------------------------------------------------

def challenge_bytes(nonce, node_id, mesh_id, spki):
    return (b"hermes-challenge-v2" + lp(nonce) + lp(node_id.encode()) +
            lp(mesh_id.encode()) + lp(spki))


def connect_bytes(node_key, nonce, node_id, issued, expires, metadata):
    return (b"hermes-connect-v2" + lp(node_key) + lp(nonce) +
            lp(node_id.encode()) + u64(issued) + u64(expires) +
            lp(metadata_hash(metadata)))


def connect_v1_bytes(node_id, metadata):
    return node_id.encode() + b"".join(
        k.encode() + v.encode() for k, v in sorted(metadata.items()))


def start_chat_bytes(chat_id, source, target, public_key, version=1,
                     rekey=False, salt=b"", info=b""):
    """Contract section 1, "StartChat signature"."""
    return b"\0".join([chat_id.encode(), source.encode(), target.encode(),
                       public_key, salt, info or b"hermes-chat-session",
                       (version or 1).to_bytes(4, "big") +
                       (b"\1" if rekey else b"\0")])


# --- TLS --------------------------------------------------------------------

def server_certificate(address):
    """The PEM certificate of a listener that asks for none. Its node lets
    nobody in while keyd, which signs, takes more than 2 seconds for it: it is
    asked again, as any app does."""
    host, port = address.rsplit(":", 1)
    end = time.monotonic() + WAIT
    while True:
        try:
            return ssl.get_server_certificate((host, int(port)))
        except ssl.SSLError as error:
            if (error.reason != "TLSV1_ALERT_INTERNAL_ERROR" or
                    time.monotonic() > end):
                raise


def spki_hash(pem):
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    return hashlib.sha256(key.public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.SubjectPublicKeyInfo)).digest()


# --- the app ----------------------------------------------------------------

class Identity:
    """An app's Ed25519 key; from text the seed is sha256(text)."""

    def __init__(self, text=None):
        seed = (hashlib.sha256(text.encode()).digest() if text
                else os.urandom(32))
        self.key = nacl.signing.SigningKey(seed)
        self.public = bytes(self.key.verify_key)
        self.id = self.public.hex()

    def sign(self, data):
        return self.key.sign(data).signature


class Closed(Exception):
    """The stream ended while a frame was awaited."""

    def __init__(self, code, details):
        super().__init__(f"stream closed: {code} {details}")
        self.code = code
        self.details = details


class Session:
    """One AppRouter.Open stream. Frames that came wait until a test takes
    them; nothing is answered by itself but what a test asks for. beside:
    another session, whose connection it shares; timeout: the call's deadline,
    in seconds."""

    def __init__(self, address, identity=None, certificate=None, beside=None,
                 timeout=None):
        self.address = address
        self.identity = identity or Identity()
        self.beside = beside
        self.certificate = (beside.certificate if beside else certificate or
                            server_certificate(address))
        self.channel = beside.channel if beside else grpc.secure_channel(
            address, grpc.ssl_channel_credentials(self.certificate.encode()),
            options=OPTIONS)
        self.outgoing = queue.SimpleQueue()
        self.frames = collections.deque()
        self.changed = threading.Condition()
        self.status = None
        self.details = ""
        self.challenge = None
        self.paused = threading.Event()
        self.paused.set()
        call = self.channel.stream_stream(
            OPEN, request_serializer=lambda m: m if isinstance(m, bytes)
            else m.SerializeToString(),
            response_deserializer=pb.AppFrame.FromString)
        self.call = call(iter(self.outgoing.get, None), timeout=timeout)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _read(self):
        try:
            while True:
                self.paused.wait()
                frame = next(self.call)
                with self.changed:
                    self.frames.append(frame)
                    self.changed.notify_all()
        except StopIteration:
            code, details = self.call.code(), self.call.details()
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
        with self.changed:
            self.status, self.details = code, details
            self.changed.notify_all()

    # --- sending --------------------------------------------------------

    def send(self, body=None, correlation="", **fields):
        """send(pb.ChatMessage(...)) or send(heartbeat=...)."""
        frame = pb.AppFrame(correlation_id=correlation)
        if body is not None:
            fields = {_field_of(body): body}
        for name, value in fields.items():
            getattr(frame, name).CopyFrom(value)
        self.outgoing.put(frame)

    def send_raw(self, data):
        self.outgoing.put(data)

    def half_close(self):
        self.outgoing.put(None)

    def close(self):
        self.outgoing.put(None)
        self.paused.set()
        self.call.cancel()
        self.reader.join(WAIT)
        if self.beside is None:
            self.channel.close()

    # --- waiting --------------------------------------------------------

    def wait(self, what, match=None, timeout=WAIT):
        """Take the first frame whose body is `what` and which match()
        accepts; others stay. Closed when the stream ends first."""
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                for i, frame in enumerate(self.frames):
                    if frame.WhichOneof("body") != what:
                        continue
                    body = getattr(frame, what)
                    if match is None or match(body):
                        del self.frames[i]
                        self.last_correlation = frame.correlation_id
                        return body
                if self.status is not None:
                    raise Closed(self.status, self.details)
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"no {what}; there is {list(self.frames)}")
                self.changed.wait(left)

    def none(self, what, match=None, barrier=True):
        """No such frame came, up to the answer to a heartbeat sent now."""
        if barrier:
            self.ping()
        with self.changed:
            return not any(f.WhichOneof("body") == what and
                           (match is None or match(getattr(f, what)))
                           for f in self.frames)

    def wait_closed(self, timeout=WAIT):
        """The gRPC status the stream ends with."""
        end = time.monotonic() + timeout
        with self.changed:
            while self.status is None:
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the stream stays open; there is "
                                       f"{list(self.frames)}")
                self.changed.wait(left)
            return self.status

    def error(self, code, match=None, timeout=WAIT):
        """Take an Error, which must be this one."""
        error = self.wait("error", match, timeout)
        assert error.code == code, (error.code, error.message)
        return error

    def ping(self, value=None):
        """A heartbeat and its echo: the session works."""
        value = value or time.time_ns()
        self.send(pb.Heartbeat(timestamp_nanos=value))
        return self.wait("heartbeat",
                         lambda h: h.timestamp_nanos == value)

    # --- the talk -------------------------------------------------------

    def check_challenge(self):
        """Take the Challenge and prove the node's key with it."""
        c = self.challenge = self.wait("challenge")
        nacl.signing.VerifyKey(c.node_public_key).verify(
            challenge_bytes(c.nonce, c.node_id, c.mesh_id,
                            spki_hash(self.certificate)), c.signature)
        return c

    def connect_frame(self, metadata=None, issued=None, life=3600, **lies):
        """A Connect for the Challenge at hand; lies replace fields before
        (node_id, nonce, ...) or the signature itself after signing."""
        c = self.challenge
        issued = issued if issued is not None else time.time_ns()
        values = dict(app_public_key=self.identity.public,
                      node_id=c.node_id, nonce=c.nonce, issued_at=issued,
                      expires_at=issued + int(life * 1e9),
                      metadata=metadata or {})
        signature = lies.pop("signature", None)
        node_key = lies.pop("node_key", c.node_public_key)
        values.update(lies)
        values["signature"] = signature if signature is not None else (
            self.identity.sign(connect_bytes(
                node_key, values["nonce"], values["node_id"],
                values["issued_at"], values["expires_at"],
                values["metadata"])))
        return pb.Connect(**values)

    def connect(self, metadata=None, auto=False, **lies):
        """Challenge, Connect, ConnectAck."""
        metadata = dict(metadata or {})
        if auto:
            metadata["accept"] = "auto"
        if self.challenge is None:
            self.check_challenge()
        self.send(self.connect_frame(metadata, **lies))
        self.ack = self.wait("connect_ack")
        return self.ack

    def find(self, app):
        """(status, node) of an app, by FindApp."""
        app = app if isinstance(app, str) else app.id
        self.send(pb.FindApp(target_app_id=app), correlation="find")
        result = self.wait("find_app_result",
                           lambda r: r.target_app_id == app)
        assert self.last_correlation == "find"
        return result.status, result.node_id

    def start(self, chat_id, peer, key=None, version=0, rekey=False,
              resume=False, correlation="", signature=None, **fields):
        """Send StartChat, with the X25519 public key `key` signed."""
        peer = peer if isinstance(peer, str) else peer.id
        frame = pb.StartChat(chat_id=chat_id, target_app_id=peer,
                             key_version=version, rekey=rekey, resume=resume,
                             **fields)
        if signature is not None and key is None:
            frame.signature = signature
        if key is not None:
            frame.local_ephemeral_public_key = key
            frame.signature = signature if signature is not None else (
                self.identity.sign(start_chat_bytes(
                    chat_id, self.identity.id, peer, key, version, rekey,
                    frame.hkdf_salt, frame.hkdf_info)))
        self.send(frame, correlation)

    def ready(self, chat_id, peer, timeout=WAIT, **fields):
        """Start a chat and wait until it is ready."""
        self.start(chat_id, peer, **fields)
        return self.wait_ready(chat_id, timeout)

    def wait_ready(self, chat_id, timeout=WAIT):
        return self.wait("start_chat_ack", lambda a: a.chat_id == chat_id,
                         timeout)

    def message(self, chat_id, sequence, payload, peer=""):
        self.send(pb.ChatMessage(chat_id=chat_id, sequence=sequence,
                                 payload=payload, peer_app_id=peer))

    def acked(self, chat_id, sequence, timeout=WAIT):
        return self.wait("chat_message_ack", lambda a: a.chat_id == chat_id
                         and a.sequence == sequence, timeout)

    def received(self, chat_id, timeout=WAIT):
        """The next message of a chat: (sequence, payload)."""
        m = self.wait("chat_message", lambda m: m.chat_id == chat_id,
                      timeout)
        return m.sequence, m.payload

    def delete(self, chat_id, peer="", correlation="", reason=""):
        self.send(pb.DeleteChat(chat_id=chat_id, peer_app_id=peer,
                                reason=reason), correlation)

    def deleted(self, chat_id, timeout=WAIT):
        """The status word of the chat's end."""
        return self.wait("delete_chat_ack",
                         lambda d: d.chat_id == chat_id, timeout).status


def _field_of(body):
    name = type(body).__name__
    return "".join("_" + c.lower() if c.isupper() else c
                   for c in name).lstrip("_")


def meet(*sessions):
    """Wait until each connected session's node knows where the others are:
    that somebody connected takes a moment to travel."""
    end = time.monotonic() + WAIT
    for one in sessions:
        for other in sessions:
            while one is not other and (
                    one.find(other.identity)[0] == "unknown"):
                if time.monotonic() > end:
                    raise TimeoutError(f"{other.identity.id} not found")
                time.sleep(0.01)


def pair(one, two, chat_id, a=None, b=None):
    """Two connected sessions with a ready chat: (session, session, ack,
    ack)."""
    first = Session(one, a)
    second = Session(two, b)
    first.connect()
    second.connect()
    meet(first, second)
    first.start(chat_id, second.identity)
    second.start(chat_id, first.identity)
    return first, second, first.wait_ready(chat_id), second.wait_ready(
        chat_id)
