"""A member of a Hermes mesh written apart from Hermes: it joins with a real
ticket over mutual TLS and then says on Gossip and RouteChat whatever a test
wants it to say, true or forged. grpcio, python3-cryptography, python3-nacl."""

import base64
import hashlib
import os
import socket
import ssl
import struct
import tempfile
import time
from datetime import datetime, timedelta

import grpc
import nacl.signing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BINDING_OID = x509.ObjectIdentifier("1.3.6.1.4.1.58888.7.1")


def lp(data):
    return struct.pack(">I", len(data)) + data


def u64(value):
    return struct.pack(">Q", value % 2**64)


def metadata_hash(metadata):
    out = b"".join(lp(k.encode()) + lp(v.encode())
                   for k, v in sorted(metadata.items()))
    return hashlib.sha256(out).digest()


def statement_bytes(kind, number, digest, node_id, node_key):
    """What a node signs of itself; common/sign/statement.h."""
    return (f"hermes-{kind}-v1".encode() + lp(node_id.encode()) +
            lp(node_key) + u64(number) + digest)


def descriptor_bytes(node):
    """What the signature of a NodeDescriptor is over."""
    digest = hashlib.sha256(
        lp(node.endpoint.encode()) + lp(node.wallet.encode()) +
        lp(node.tls_spki_sha256) + lp(node.certificate) +
        lp(metadata_hash(dict(node.metadata))) +
        struct.pack(">I", len(node.capabilities)) +
        b"".join(lp(c.encode()) for c in node.capabilities)).digest()
    return statement_bytes("descriptor", node.incarnation, digest,
                           node.node_id, node.identity_key)


def ticket_bytes(text):
    """The encoded ticket behind its text; see common/sign/ticket.h."""
    body = text.strip().lower()
    assert body.startswith("hermes1")
    body = body[len("hermes1"):].upper()
    return base64.b32decode(body + "=" * (-len(body) % 8))


def parse_ticket(text):
    """(secret, [(node key, endpoint)]) of a ticket."""
    raw = ticket_bytes(text)
    secret = raw[64:80]
    count = struct.unpack(">I", raw[88:92])[0]
    at, endpoints = 92, []
    for _ in range(count):
        key = raw[at:at + 32]
        length = struct.unpack(">I", raw[at + 32:at + 36])[0]
        endpoints.append((key, raw[at + 36:at + 36 + length].decode()))
        at += 36 + length
    return secret, endpoints


class Member:
    """One node identity. names() may be lied about by the caller."""

    def __init__(self, node_id, endpoint="127.0.0.1:1"):
        self.node_id = node_id
        self.endpoint = endpoint
        self.identity = nacl.signing.SigningKey.generate()
        self.node_key = bytes(self.identity.verify_key)
        self.tls_key = ec.generate_private_key(ec.SECP256R1())
        spki = self.tls_key.public_key().public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo)
        self.spki = hashlib.sha256(spki).digest()
        self.certificate = b""  # membership, encoded
        self.incarnation = 1
        self.presence = 0

    # --- statements -----------------------------------------------------

    def sign(self, kind, number, digest, node_id=None, node_key=None):
        """A statement of common/sign/statement.h."""
        return self.identity.sign(statement_bytes(
            kind, number, digest, node_id or self.node_id,
            node_key or self.node_key)).signature

    def descriptor(self, pb, **lies):
        """An own, signed NodeDescriptor; lies override fields before the
        signature is made."""
        node = pb.NodeDescriptor(
            node_id=self.node_id, endpoint=self.endpoint,
            identity_key=self.node_key, incarnation=self.incarnation,
            tls_spki_sha256=self.spki, certificate=self.certificate)
        for name, value in lies.items():
            setattr(node, name, value)
        node.signature = self.identity.sign(descriptor_bytes(node)).signature
        return node

    def app_sync(self, pb, apps, full=False, node_id=None):
        """A signed AppSync of registrations."""
        self.presence += 1
        body = struct.pack(">BI", full, len(apps))
        for app in apps:
            body += (lp(app.app_id.encode()) + lp(app.session_id.encode()) +
                     lp(metadata_hash(dict(app.metadata))) +
                     u64(app.connected_at_nanos) + lp(app.attestation) +
                     struct.pack(">B", app.departed) + u64(app.sequence))
        return pb.AppSync(
            node_id=node_id or self.node_id, apps=apps,
            sequence=self.presence, full=full,
            signature=self.sign("presence", self.presence,
                                hashlib.sha256(body).digest()))

    # --- TLS ------------------------------------------------------------

    def binding(self):
        head = self.node_id.encode()
        signed = (b"hermes-tls-v1" + lp(head) + lp(self.node_key) +
                  lp(self.spki))
        signature = self.identity.sign(signed).signature
        return encode_binding(self.node_id, self.node_key, signature,
                              self.certificate)

    def x509(self):
        """(certificate, key) as PEM, with the binding in its extension."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME,
                                             self.node_id)])
        now = datetime.utcnow()
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(self.tls_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName(
                [x509.DNSName(self.node_id)]), critical=False)
            .add_extension(x509.UnrecognizedExtension(
                BINDING_OID, self.binding()), critical=False)
            .sign(self.tls_key, hashes.SHA256()))
        return (certificate.public_bytes(serialization.Encoding.PEM),
                self.tls_key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption()))

    def channel(self, host, port):
        """A gRPC channel to a node's mesh listener. The node's self-signed
        certificate is fetched first and then trusted."""
        certificate, key = self.x509()
        server = fetch_certificate(host, port, certificate, key)
        parsed = x509.load_pem_x509_certificate(server)
        names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        try:
            sans = parsed.extensions.get_extension_for_class(
                x509.SubjectAlternativeName).value.get_values_for_type(
                    x509.DNSName)
        except x509.ExtensionNotFound:
            sans = []
        override = (sans or [names[0].value])[0]
        credentials = grpc.ssl_channel_credentials(server, key, certificate)
        return grpc.secure_channel(
            f"{host}:{port}", credentials,
            options=(("grpc.ssl_target_name_override", override),
                     ("grpc.enable_http_proxy", 0)))

    # --- calls ----------------------------------------------------------

    def join(self, pb, channel, ticket_text):
        """Redeem a ticket at its first endpoint's node."""
        secret, endpoints = parse_ticket(ticket_text)
        server_key = endpoints[0][0]
        nonce = os.urandom(32)
        digest = hashlib.sha256(secret + nonce + server_key).digest()
        request = pb.JoinRequest(
            node=self.descriptor(pb), nonce=nonce,
            signature=self.sign("join", 0, digest), ticket_secret=secret,
            ticket=ticket_bytes(ticket_text))
        call = channel.unary_unary(
            "/nodemesh.v1.NodeMesh/Join",
            request_serializer=pb.JoinRequest.SerializeToString,
            response_deserializer=pb.JoinResponse.FromString)
        response = call(request, timeout=60)
        self.certificate = response.certificate
        self.incarnation += 1
        return response

    @staticmethod
    def gossip(pb, channel, frames):
        return channel.stream_stream(
            "/nodemesh.v1.NodeMesh/Gossip",
            request_serializer=lambda m: m if isinstance(m, bytes)
            else m.SerializeToString(),
            response_deserializer=pb.GossipMessage.FromString)(frames)

    @staticmethod
    def route(pb, channel, frames):
        return channel.stream_stream(
            "/nodemesh.v1.NodeMesh/RouteChat",
            request_serializer=pb.RouteFrame.SerializeToString,
            response_deserializer=pb.RouteFrame.FromString)(frames)


def encode_binding(node_id, node_key, signature, certificate):
    """binding_encode() of common/sign/certificate.h."""
    out = lp(node_id.encode()) + node_key + signature
    return out + (b"\x01" + certificate if certificate else b"\x00")


def fetch_certificate(host, port, certificate, key):
    """The PEM certificate that a TLS server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with tempfile.NamedTemporaryFile() as pem:
        pem.write(certificate + key)
        pem.flush()
        context.load_cert_chain(pem.name)
    with socket.create_connection((host, port), timeout=60) as raw:
        with context.wrap_socket(raw) as tls:
            return ssl.DER_cert_to_PEM_cert(
                tls.getpeercert(binary_form=True)).encode()


def now_nanos():
    return time.time_ns()
