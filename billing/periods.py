"""Months of an account: half-open, in the account's own zone, by the instant a call was accepted.

Units: a `Month` prints as `2026-10`; instants are aware datetimes. Pure.
Errors: `ValueError` for a month that is not one, `ZoneInfoNotFoundError` for an unknown zone.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


class Month(NamedTuple):
    """A calendar month; sorts by time."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`2026-10` → Month(2026, 10)."""
        match = _MONTH.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a month; write it as 2026-10")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, instant: datetime, zone: str) -> Self:
        """The month in which an instant falls in a zone."""
        return cls(*_year_and_month(int(instant.timestamp() // 1), zone))

    def next(self) -> Self:
        return type(self)(self.year + self.number // 12, self.number % 12 + 1)

    def first_day(self) -> date:
        return date(self.year, self.number, 1)

    def last_day(self) -> date:
        return date.fromordinal(self.next().first_day().toordinal() - 1)

    def bounds(self, zone: str) -> tuple[datetime, datetime]:
        """The half-open interval [start, end) of this month in a zone."""
        tz = zone_of(zone)
        start, end = self.first_day(), self.next().first_day()
        return datetime(start.year, start.month, 1, tzinfo=tz), datetime(end.year, end.month, 1, tzinfo=tz)

    def __str__(self) -> str:
        return _text_of(self.year, self.number)


@lru_cache(maxsize=1024)
def _year_and_month(second: int, zone: str) -> tuple[int, int]:
    """Of a Unix second. A busy gateway asks for the same second a thousand times; zones change their offset only between seconds."""
    local = (_EPOCH + timedelta(seconds=second)).astimezone(zone_of(zone))
    return local.year, local.month


@lru_cache(maxsize=1024)
def _text_of(year: int, number: int) -> str:
    return f"{year:04d}-{number:02d}"


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name."""
    return ZoneInfo(name)
