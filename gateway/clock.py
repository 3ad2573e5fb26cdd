"""What time it is. One clock for the whole gateway; in a sandbox it can be set, and runs on from there.

Units: Unix nanoseconds and milliseconds, aware datetimes in UTC. Rate limits use Redis's clock, not this one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """The system's clock, shifted by an offset (0 outside a sandbox)."""

    offset_ns: int = 0

    @classmethod
    def starting_at(cls, instant: datetime) -> Clock:
        """A clock that shows `instant` now and runs on."""
        return cls(to_ns(instant) - time.time_ns())

    def now_ns(self) -> int:
        return time.time_ns() + self.offset_ns

    def now(self) -> datetime:
        return from_ns(self.now_ns())


def to_ns(instant: datetime) -> int:
    """An aware datetime as Unix nanoseconds, exactly (microseconds are its finest)."""
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000


def from_ns(instant_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant_ns // 1000)
