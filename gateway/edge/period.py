"""Dates in a query (`?from=&to=`, half-open) → instants in a zone. Pure. Errors: `InvalidRequest`."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfoNotFoundError

from billing.periods import Month, zone_of
from gateway.errors import InvalidRequest


def interval_of(start: str | None, end: str | None, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """[from, to) as instants; what is absent comes from the running month in the zone."""
    try:
        month = Month.of(now, zone)
        first, last = month.bounds(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidRequest(f"zone: {zone[:60]!r} is not an IANA zone.", param="zone") from None
    begins = first if start is None else _midnight(start, "from", zone)
    ends = last if end is None else _midnight(end, "to", zone)
    if begins > ends:
        raise InvalidRequest("from: must not lie after to.", param="from")
    return begins, ends


def _midnight(text: str, field: str, zone: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(f"{field}: must be a day such as 2026-10-01.", param=field) from None
    return datetime(day.year, day.month, day.day, tzinfo=zone_of(zone))
