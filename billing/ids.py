"""Identities that are made once and kept for good.

Units: a UUIDv7 (RFC 9562, section 5.7, May 2024): 48 bits of Unix milliseconds, then 74 random bits, so that ids sort by time
and the month of a ledger partition can be read off the id itself.
"""

from __future__ import annotations

import builtins
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
    """A UUID that is its digits: a call's id is written half a dozen times, and its number is hardly ever asked for."""

    __slots__ = ("hex", "text")
    hex: str
    text: str
    is_safe = SafeUUID.unknown  # type: ignore[misc]  # final in typeshed only

    @property  # type: ignore[misc]  # final in typeshed only
    def int(self) -> builtins.int:
        return builtins.int(self.hex, 16)

    def __str__(self) -> str:
        return self.text


def new_call_id(now_ms: int) -> CallId:
    """As `uuid7`, without the questions that `UUID` asks of what it is given."""
    time, random = f"{now_ms:012x}", os.urandom(10).hex()
    text = f"{time[:8]}-{time[8:]}-7{random[:3]}-{_VARIANT[random[3]]}{random[4:7]}-{random[7:19]}"
    made = object.__new__(CallId)
    _put(made, "text", text)
    _put(made, "hex", text.replace("-", ""))
    return made


_VARIANT = {digit: "89ab"[place % 4] for place, digit in enumerate("0123456789abcdef")}
"""The first digit of the fourth group has two bits of its own, 10, and two of chance."""
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
