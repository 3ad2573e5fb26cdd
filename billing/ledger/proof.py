"""The proof of a month: a hash chain over an account's entries, whose last value stands on the invoice. Pure.

The format is specified in PROOF.md, from which anyone can verify a statement offline; `solar_sdk.receipts` is one who does. The
journal links each entry as it writes it, so closing a month costs no hashing, and an entry that is changed, dropped, added or moved
afterwards no longer leads to the root. What only the house knows (upstream's price, what was absorbed) is not part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Context, Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

FIELDS = (
    "entry_id",
    "call_id",
    "kind",
    "reverses",
    "account_id",
    "key_id",
    "accepted_at",
    "billing_month",
    "booked_month",
    "endpoint",
    "model_asked",
    "model",
    "model_answered",
    "card_id",
    "input_price",
    "cached_input_price",
    "output_price",
    "standard_price",
    "enhanced_price",
    "discount",
    "discount_reason",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "standard_pages",
    "enhanced_pages",
    "granted_input_tokens",
    "granted_cached_input_tokens",
    "granted_output_tokens",
    "list_cost",
    "cost",
    "estimated_reason",
    "streamed",
    "attempts",
)
"""What of an entry is proved, in the order of its canonical form."""

_COUNTS = FIELDS[21:29]
ENTRY_LABEL, _MONTH, _LINK, _ROOT = (
    f"solar-ledger-{name}-v1\n".encode() for name in ("entry", "month", "link", "root")
)
_EXACT = Context(prec=60)
_json = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Chain:
    """The chain of an account's month so far: how many entries it has, and its last value."""

    entries: int
    head: bytes

    @classmethod
    def begin(cls, account_id: str, booked_month: str) -> Chain:
        return cls(0, sha256(_MONTH + _json([account_id, booked_month])).digest())

    def add(self, leaf: bytes) -> int:
        """Link one more entry; returns its place, from 1 on."""
        self.entries += 1
        self.head = sha256(_LINK + self.head + leaf).digest()
        return self.entries

    def root(self) -> str:
        """What stands on the invoice: 64 hexadecimal digits."""
        return sha256(_ROOT + self.head + str(self.entries).encode()).hexdigest()


def leaf_of(row: Mapping[str, Any]) -> bytes:
    """The hash of one entry's canonical form."""
    return sha256(ENTRY_LABEL + _json(to_wire_texts(row))).digest()


def root_of(account_id: str, booked_month: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """The root that entries, in the order of their places, lead to."""
    chain = Chain.begin(account_id, booked_month)
    for row in rows:
        chain.add(leaf_of(row))
    return chain.root()


def to_wire_texts(row: Mapping[str, Any]) -> list[str]:
    """The canonical form of an entry: a text for each of `FIELDS`; what is absent is an empty text."""
    reverses = row["reverses"]
    return [
        row["entry_id"].hex,
        row["call_id"].hex,
        row["kind"],
        "" if reverses is None else reverses.hex,
        row["account_id"],
        row["key_id"],
        row["accepted_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        row["billing_month"],
        row["booked_month"],
        row["endpoint"],
        row["model_asked"],
        row["model"],
        row["model_answered"] or "",
        row["card_id"],
        plain(row["input_price"]),
        plain(row["cached_input_price"]),
        plain(row["output_price"]),
        plain(row["standard_price"]),
        plain(row["enhanced_price"]),
        plain(row["discount"]),
        row["discount_reason"],
        *(str(row[name]) for name in _COUNTS),
        _plain(row["list_cost"]),
        _plain(row["cost"]),
        row["estimated_reason"] or "",
        "true" if row["streamed"] else "false",
        str(row["attempts"]),
    ]


def to_wire_entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as it is exported: its place in the chain and the proved fields; money as canonical decimal strings."""
    texts = dict(zip(FIELDS, to_wire_texts(row), strict=True))
    shape: dict[str, Any] = {"place": row["place"], **texts}
    shape |= {name: row[name] for name in (*_COUNTS, "streamed", "attempts")}
    return shape | {name: texts[name] or None for name in ("reverses", "model_answered", "estimated_reason")}


def _plain(amount: Decimal | str) -> str:
    """A decimal number without exponent and without digits that say nothing: `0.3`, `0`, `-0.000012`."""
    text = format(_EXACT.create_decimal(amount).normalize(_EXACT), "f")
    return "0" if text == "-0" else text


plain = lru_cache(maxsize=4096)(_plain)
"""The same for prices and discounts, of which there are few."""
