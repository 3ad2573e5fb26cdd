"""Secrets of API keys. Pure.

`sk-solar-` and 256 random bits in URL-safe base64. Because nobody can guess 256 random bits, a plain SHA-256 is a sound way to
store them, and looking a key up by its hash tells an attacker's clock nothing about the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

PREFIX = "sk-solar-"
_LENGTH_MAX = 256


def new_secret() -> str:
    """A fresh secret, to be shown once."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str | None:
    """What is stored of a secret; None for a text that cannot be one."""
    if not secret.startswith(PREFIX) or len(secret) > _LENGTH_MAX:
        return None
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def same_hash(stored: str, computed: str) -> bool:
    """Compared in constant time, whatever the index that found the row did."""
    return hmac.compare_digest(stored, computed)


def prefix_of(secret: str) -> str:
    """What may be shown of a secret, to tell keys apart: `sk-solar-AbCd`."""
    return secret[: len(PREFIX) + 4]
