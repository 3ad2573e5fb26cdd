"""The two exceptions to "byte for byte" (design.md section 3). Pure.

A usage event that the client asked for gets `usage.cost` and `usage.currency`; usage that only the gateway asked for is taken out
again: the whole event where its `choices` are empty, else only the key.
"""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from billing.money import to_wire_decimal

_USAGE_OPENS = re.compile(rb'"usage"\s*:\s*(\{)(\s*\})?')
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def with_cost(event: bytes, payload: bytes, cost_usd: Decimal | None) -> bytes:
    """The event with the call's cost inside its usage object (not one in a tool's schema that a response repeats)."""
    if cost_usd is None:  # not known yet
        return event
    block = _block_of(payload)
    openings = [found for found in _USAGE_OPENS.finditer(event) if event.startswith(block, found.start(1))]
    if not openings:
        return event
    is_empty = openings[-1][2] is not None
    at = openings[-1].start(2) if is_empty else openings[-1].end(1)
    cost = f'"cost":"{to_wire_decimal(cost_usd)}","currency":"USD"'.encode() + (b"" if is_empty else b",")
    return event[:at] + cost + event[at:]


def _block_of(payload: bytes) -> bytes:
    """The bytes of the usage object, as they stand; only its brace where a payload is spread over several lines."""
    fields = _fields_of(payload)
    if "usage" not in fields and "response" in fields:
        fields = _fields_of(fields["response"])
    block = bytes(fields.get("usage", b"{"))
    return block if b"\n" not in payload else b"{"


def _fields_of(payload: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The fields of an object; none of what is no object, or has names that are no text."""
    try:
        return _decode_fields(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def without_usage(event: bytes, payload: bytes, *, has_choices: bool) -> bytes:
    """The event without its usage: nothing at all where it carried nothing else."""
    if not has_choices:
        return b""
    fields = _fields_of(payload)
    if fields.pop("usage", None) is None:
        return event
    left = msgspec.json.encode(fields)
    # A payload that was spread over several `data:` lines comes out on one.
    return event.replace(payload, left, 1) if payload in event else b"data: " + left + b"\n\n"
