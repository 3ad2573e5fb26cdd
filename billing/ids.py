"""Identities that are made once and kept for good.

Units: a UUIDv7 (RFC 9562, section 5.7, May 2024): 48 bits of Unix milliseconds, then 74 random bits, so that ids sort by time
and the month of a ledger partition can be read off the id itself.
"""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from uuid import UUID, SafeUUID


def uuid7(now_ms: int) -> UUID:
    """A new UUIDv7 for an instant, in Unix milliseconds."""
    random = int.from_bytes(os.urandom(10), "big")
    return UUID(
        int=(now_ms << 80) | (0x7 << 76) | ((random >> 68 & 0xFFF) << 64) | (0b10 << 62) | (random & (1 << 62) - 1)
    )


class CallId(UUID):
    """A UUID that keeps its digits: a call's id is written half a dozen times, and working them out each time costs 1 µs."""

    __slots__ = ("hex",)
    hex: str

    def __str__(self) -> str:
        digits = self.hex
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_call_id(now_ms: int) -> CallId:
    """As `uuid7`, without the questions that `UUID` asks of what it is given."""
    random = int.from_bytes(os.urandom(10), "big")
    number = (now_ms << 80) | (0x7 << 76) | ((random >> 68 & 0xFFF) << 64) | (0b10 << 62) | (random & (1 << 62) - 1)
    made = object.__new__(CallId)
    _put(made, "int", number)
    _put(made, "hex", f"{number:032x}")
    _put(made, "is_safe", _UNKNOWN)
    return made


_UNKNOWN = SafeUUID.unknown
_put = object.__setattr__  # a UUID cannot be changed; this one is being made


def derived_id(uuid: UUID, name: str) -> UUID:
    """The one UUIDv7 of a name beside another: the same instant (and so the same month), other bits, the same every time."""
    bits = int.from_bytes(hashlib.sha256(b"solar-derived-id\0" + uuid.bytes + name.encode()).digest()[:10], "big")
    return UUID(
        int=(uuid.int >> 80 << 80) | (0x7 << 76) | ((bits >> 68 & 0xFFF) << 64) | (0b10 << 62) | (bits & (1 << 62) - 1)
    )


def instant_of(uuid: UUID) -> datetime:
    """When a UUIDv7 was made, to the millisecond."""
    return datetime.fromtimestamp((uuid.int >> 80) / 1000, UTC)


def new_id(kind: str, now: datetime) -> str:
    """A new id such as `acc_0199…` that tells its kind and sorts by time."""
    return f"{kind}_{uuid7(int(now.timestamp() * 1000)).hex}"
