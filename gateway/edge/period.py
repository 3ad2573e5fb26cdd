"""Dates in a query (`?from=&to=`, half-open) → instants in a zone. Pure. Errors: `InvalidRequest`."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfoNotFoundError

from billing.periods import Month, zone_of
from gateway.edge.wire import from_wire_day
from gateway.errors import InvalidRequest


def checked_zone(name: str, field: str) -> str:
    """The name of an IANA zone. A folder of zones, or a name that no file can have, is none (and an OSError of its reader)."""
    try:
        zone_of(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRequest(f"{field}: {name[:60]!r} is not an IANA zone.", param=field) from None
    return name


def interval_of(start: str | None, end: str | None, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """[from, to) as instants; what is absent comes from the running month in the zone."""
    first, last = Month.of(now, checked_zone(zone, "zone")).bounds(zone)
    begins = first if start is None else _midnight(start, "from", zone)
    ends = last if end is None else _midnight(end, "to", zone)
    if begins > ends:
        raise InvalidRequest("from: must not lie after to.", param="from")
    return begins, ends


def _midnight(text: str, field: str, zone: str) -> datetime:
    day = from_wire_day(text, field)
    return datetime(day.year, day.month, day.day, tzinfo=zone_of(zone))
