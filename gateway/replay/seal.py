"""What of an idempotent call may lie in Redis: a name, a digest and a sealed answer, under keys that only the caller's secret gives. Pure.

From the secret (256 random bits, of which we store a hash alone) HKDF-SHA256 (RFC 5869, May 2010) makes two keys, bound to the account
and the key. One is for keyed BLAKE2b (RFC 7693, November 2015), so that nobody who reads Redis can try prompts against a digest; the other
for AES-256-GCM (NIST SP 800-38D, November 2007; a random nonce of 96 bits, good for 2^32 answers a key), bound to the record and the call.
Errors: `BrokenSeal` where a sealed answer was not made with this secret for this call, or was changed.
"""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES = 32
_NONCE_BYTES = 12
SEAL_BYTES = _NONCE_BYTES + 16
"""How much longer a sealed answer is: its nonce and its tag."""


class BrokenSeal(ValueError):
    """A sealed answer cannot be opened with this secret."""


class Seal:
    """One Idempotency-Key of one caller."""

    __slots__ = ("_answer_key", "_mac_key", "name")

    def __init__(self, secret: str, account_id: str, key_id: str, idempotency_key: str) -> None:
        info = f"solar-gateway replay 1\0{account_id}\0{key_id}".encode()
        keys = HKDF(SHA256(), 2 * _KEY_BYTES, salt=None, info=info).derive(secret.encode("utf-8", "surrogateescape"))
        self._mac_key, self._answer_key = keys[:_KEY_BYTES], keys[_KEY_BYTES:]
        # 128 bits: names of one caller, which nobody else can make, do not meet by chance.
        self.name = _keyed(self._mac_key, b"name", idempotency_key.encode("latin-1"), size=16).hex()

    def digest(self, endpoint: str, content_type: str, body: bytes) -> str:
        """What tells one request from another. A form's boundary does not: clients draw a new one for each attempt."""
        boundary = _boundary_of(content_type)
        content = body.replace(boundary, b"") if boundary else body
        return _keyed(self._mac_key, b"body", endpoint.encode() + b"\0" + content, size=32).hex()

    def close(self, call_id: str, answer: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._answer_key).encrypt(nonce, answer, self._bound_to(call_id))

    def open(self, call_id: str, sealed: bytes) -> bytes:
        try:
            nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            return AESGCM(self._answer_key).decrypt(nonce, text, self._bound_to(call_id))
        except (InvalidTag, ValueError):
            raise BrokenSeal("not made with this secret for this call, or changed since") from None

    def _bound_to(self, call_id: str) -> bytes:
        return f"{self.name}\0{call_id}".encode()


def _keyed(key: bytes, purpose: bytes, content: bytes, *, size: int) -> bytes:
    return hashlib.blake2b(content, key=key, person=purpose, digest_size=size).digest()


def _boundary_of(content_type: str) -> bytes:
    """The boundary of a multipart form; empty for any other body."""
    if not content_type.lower().startswith("multipart/"):
        return b""
    _, _, rest = content_type.partition("boundary=")
    return rest.partition(";")[0].strip().strip('"').encode("latin-1", "replace")
