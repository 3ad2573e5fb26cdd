"""The two exceptions to "byte for byte" (design.md section 3). Pure.

A usage event that the client asked for gets `usage.cost` and `usage.currency`; usage that only the gateway asked for is taken out
again: the whole event where its `choices` are empty, else only the key.
"""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from billing.money import to_wire_decimal

_USAGE_OPENS = re.compile(rb'"usage"\s*:\s*\{(\s*\})?')
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def with_cost(event: bytes, cost_usd: Decimal) -> bytes:
    """The event with the call's cost inside its usage object: the last of that name, since it stands at an event's end."""
    openings = list(_USAGE_OPENS.finditer(event))
    if not openings:
        return event
    is_empty = openings[-1][1] is not None
    at = openings[-1].start(1) if is_empty else openings[-1].end()
    cost = f'"cost":"{to_wire_decimal(cost_usd)}","currency":"USD"'.encode() + (b"" if is_empty else b",")
    return event[:at] + cost + event[at:]


def without_usage(event: bytes, payload: bytes, *, has_choices: bool) -> bytes:
    """The event without its usage: nothing at all where it carried nothing else."""
    if not has_choices:
        return b""
    fields = _decode_fields(payload)
    fields.pop("usage", None)
    left = msgspec.json.encode(fields)
    # A payload that was spread over several `data:` lines comes out on one.
    return event.replace(payload, left, 1) if payload in event else b"data: " + left + b"\n\n"
