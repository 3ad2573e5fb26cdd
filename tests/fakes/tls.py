"""A certificate authority of a test's own, and TLS ends in front of servers that speak none.

The wheel's Valkey is built without TLS (2026-11, 9.1.2), so a TLS end of Python's stands in front of each node, and the node announces its
port to clients (`cluster-announce-client-port`, Valkey ≥ 9). What is on trial is our side: both clients, certificate and name checked.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.fakes.fault_proxy import FaultProxy

_LIFE = timedelta(days=2)


@dataclass(frozen=True)
class Authority:
    """Who signed; `ca_path` is what a client trusts (`SSL_CERT_FILE`)."""

    ca_path: Path
    server: ssl.SSLContext


def new_authority(home: Path) -> Authority:
    """A fresh authority, and a server's certificate of it for 127.0.0.1."""
    home.mkdir(parents=True, exist_ok=True)
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name, server_name = _named("a test's own authority"), _named("a test's own server")
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_use(signs=True), critical=True)
        .sign(ca_key, SHA256())
    )
    server = (
        _certificate(server_name, ca_name, server_key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, SHA256())
    )
    ca_path, server_path = home / "ca.pem", home / "server.pem"
    ca_path.write_bytes(ca.public_bytes(Encoding.PEM))
    server_path.write_bytes(
        server.public_bytes(Encoding.PEM) + server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server_path)
    return Authority(ca_path, context)


@contextmanager
def tls_ends(authority: Authority, ports: Sequence[int]) -> Iterator[list[int]]:
    """A TLS end in front of each port; yields theirs."""
    with ExitStack() as stack:
        ends = [
            stack.enter_context(FaultProxy(f"redis://127.0.0.1:{port}", lambda: None, tls=authority.server))
            for port in ports
        ]
        yield [int(end.url.rpartition(":")[2]) for end in ends]


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFE)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _use(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
