"""A second verifier of a month's proof, written from billing/ledger/PROOF.md alone. It shares no code with the product.

Takes the entries as they are exported and gives the root, as section 4 of the specification says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

# Section 2: the fields, in their order, and the kind of each.
TEXT, NUMBER, WHOLE, TRUTH = "text", "number", "whole", "truth"
FIELDS = {
    **dict.fromkeys(("entry_id", "call_id", "kind", "reverses", "account_id", "key_id", "accepted_at"), TEXT),
    **dict.fromkeys(
        ("billing_month", "booked_month", "endpoint", "model_asked", "model", "model_answered", "card_id"), TEXT
    ),
    **dict.fromkeys(("input_price", "cached_input_price", "output_price", "standard_price", "enhanced_price"), NUMBER),
    "discount": NUMBER,
    "discount_reason": TEXT,
    **dict.fromkeys(
        ("input_tokens", "cached_input_tokens", "output_tokens", "standard_pages", "enhanced_pages"), WHOLE
    ),
    **dict.fromkeys(("granted_input_tokens", "granted_cached_input_tokens", "granted_output_tokens"), WHOLE),
    **dict.fromkeys(("list_cost", "cost"), NUMBER),
    "estimated_reason": TEXT,
    "streamed": TRUTH,
    "attempts": WHOLE,
}


def root_from_spec(account_id: str, booked_month: str, entries: Iterable[dict[str, Any]]) -> str:
    """Section 4."""
    value = hashed("month", json_of([account_id, booked_month]))
    count = 0
    for entry in entries:
        count += 1
        value = hashed("link", value + hashed("entry", canonical(entry)))
    return hashed("root", value + str(count).encode("ascii")).hex()


def hashed(label: str, data: bytes) -> bytes:
    """Section 1: SHA-256 over a label of its own for each purpose, and the data."""
    return hashlib.sha256(b"solar-ledger-" + label.encode("ascii") + b"-v1" + bytes([10]) + data).digest()


def canonical(entry: dict[str, Any]) -> bytes:
    """Section 2."""
    return json_of([text_of(entry[name], kind) for name, kind in FIELDS.items()])


def text_of(value: Any, kind: str) -> str:
    if value is None:
        return ""
    if kind == TRUTH:
        return {True: "true", False: "false"}[value]
    return number(value) if kind == NUMBER else str(value)


def number(text: str) -> str:
    """Section 3, by another way than Decimal: digits shifted by powers of ten."""
    fraction, places = Fraction(text), 0
    while fraction.denominator != 1:
        fraction, places = fraction * 10, places + 1
    digits = str(abs(fraction.numerator)).rjust(places + 1, "0")
    shown = digits if places == 0 else f"{digits[:-places]}.{digits[-places:]}"
    return ("-" if fraction < 0 else "") + shown


def json_of(texts: list[str]) -> bytes:
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
