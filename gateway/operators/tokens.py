"""Secrets of operators. Pure. `op-solar-` and 256 random bits, stored as SHA-256 (`gateway.keys.secret` says why that is enough)."""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "op-solar-"
_LENGTH_MAX = 256


def new_token() -> str:
    """A fresh token, to be shown once."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(token: str) -> str | None:
    """What is stored of a token; None for a text that cannot be one."""
    if not token.startswith(PREFIX) or len(token) > _LENGTH_MAX:
        return None
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def prefix_of(token: str) -> str:
    """What may be shown of a token, to tell operators apart."""
    return token[: len(PREFIX) + 4]
