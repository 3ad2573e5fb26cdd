"""From a settled call to the rows of its entries. Pure.

Units: counts as in `billing.usage`, costs exact USD; in a row money is text, as it goes into the ledger.
An entry's id is its call's. Where an orphan's estimate is replaced by the call's settlement, two more entries stand beside it: its
reversal and the exact one, whose ids follow from the call's, so that a repeated delivery makes the same ids and changes nothing.
Errors: what reading a malformed record raises (`ValueError`, `decimal.InvalidOperation`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.ids import derived_id, instant_of
from billing.ledger.record import UsageRecord, from_wire_prices
from billing.prices import cost, list_cost
from billing.usage import NOTHING, Usage

COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "standard_pages", "enhanced_pages")
GRANTED = ("granted_input_tokens", "granted_cached_input_tokens", "granted_output_tokens")
PRICES = ("input_price", "cached_input_price", "output_price", "standard_price", "enhanced_price")
COSTS = ("list_cost", "cost", "buy_cost", "absorbed_buy_cost")
_ABSORBED = tuple(f"absorbed_{name}" for name in COUNTS)
_NEGATED = (*COUNTS, *GRANTED, *_ABSORBED, *COSTS)

Grants = tuple[tuple[str, str, int], ...]
"""(grant id, kind, tokens) for each part that a grant paid."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A record and how grants were spent on it: (grant id, kind, tokens), as decided at settlement."""

    record: UsageRecord
    grants: Grants = ()

    @property
    def granted(self) -> Usage:
        if not self.grants:
            return NOTHING
        taken: dict[str, int] = defaultdict(int)
        for _, kind, tokens in self.grants:
            taken[kind] += tokens
        return Usage(taken["input"], taken["cached_input"], taken["output"])


def partition_of(call_id: UUID) -> int:
    """The UTC month of an id, as 202611."""
    made = instant_of(call_id)
    return made.year * 100 + made.month


def reversal_id(call_id: UUID) -> UUID:
    """The id of the reversal of a call's estimate."""
    return derived_id(call_id, "reversal")


def exact_id(call_id: UUID) -> UUID:
    """The id of the entry that replaces a call's estimate."""
    return derived_id(call_id, "exact")


def to_row_entry(item: Settled, open_from: str, now: datetime) -> dict[str, Any]:
    """The entry of a call; booked into its own month, or into the first one open where that is closed (`open_from`)."""
    record, granted, call_id = item.record, item.granted, item.record.uuid
    prices, usage, discount = from_wire_prices(record.prices), Usage(*record.usage), Decimal(record.discount)
    before_discount = list_cost(usage, prices)
    plain = granted is NOTHING and not discount
    buy = None if record.buy_prices is None else from_wire_prices(record.buy_prices)
    return {
        "partition_month": partition_of(call_id),
        "entry_id": call_id,
        "call_id": call_id,
        "kind": "call",
        "reverses": None,
        "account_id": record.account_id,
        "key_id": record.key_id,
        "accepted_at": record.accepted_at,
        "day": record.day,
        "zone": record.zone,
        "billing_month": record.billing_month,
        "booked_month": max(record.billing_month, open_from),
        "endpoint": record.endpoint,
        "model_asked": record.model_asked,
        "model": record.model,
        "model_answered": record.model_answered,
        "card_id": record.card_id,
        **dict(zip(PRICES, record.prices, strict=True)),
        "discount": record.discount,
        "discount_reason": record.discount_reason,
        **dict(zip(COUNTS, record.usage, strict=True)),
        "granted_input_tokens": granted.input_tokens,
        "granted_cached_input_tokens": granted.cached_input_tokens,
        "granted_output_tokens": granted.output_tokens,
        "list_cost": str(before_discount),
        "cost": str(before_discount if plain else cost(usage, granted, prices, discount)),
        **dict(zip(_ABSORBED, record.absorbed, strict=True)),
        "absorbed_reason": record.absorbed_reason,
        "buy_prices": record.buy_prices and _array(record.buy_prices),
        "buy_cost": None if buy is None else str(list_cost(usage, buy)),
        "absorbed_buy_cost": None if buy is None else str(list_cost(_absorbed(record), buy)),
        "estimated_reason": record.estimated_reason,
        "streamed": record.streamed,
        "attempts": record.attempts,
        "recorded_at": now,
    }


def _array(prices: Iterable[Decimal | str]) -> str:
    """Numbers as Postgres writes an array of them."""
    return f"{{{','.join(map(str, prices))}}}"


def _absorbed(record: UsageRecord) -> Usage:
    return Usage(*record.absorbed) if any(record.absorbed) else NOTHING


def to_row_reversal(entry: Mapping[str, Any], open_from: str, now: datetime) -> dict[str, Any]:
    """The entry that undoes another to the last digit, booked where entries of its month are booked now."""
    negated = {name: None if entry[name] is None else -entry[name] for name in _NEGATED}
    row = {**entry, **negated}
    return {
        **row,
        **{name: None if row[name] is None else str(row[name]) for name in (*PRICES, "discount", *COSTS)},
        "buy_prices": row["buy_prices"] and _array(row["buy_prices"]),
        "entry_id": reversal_id(entry["call_id"]),
        "kind": "reversal",
        "reverses": entry["entry_id"],
        "booked_month": max(entry["billing_month"], open_from),
        "recorded_at": now,
    }
