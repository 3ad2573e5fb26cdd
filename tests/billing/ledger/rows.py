"""The row of a call's entry as a reader gets it, worked out field by field from the record: what the writer's text is held against."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from billing.ledger.entry import COUNTS, PRICES, Settled, partition_of
from billing.ledger.record import from_wire_prices
from billing.prices import cost, list_cost
from billing.usage import NOTHING, Usage


def row_of(item: Settled, open_from: str = "") -> dict[str, Any]:
    """Money as Decimal; place and instant of recording are the journal's to say."""
    record, granted, call_id = item.record, item.granted, item.record.uuid
    prices, discount = from_wire_prices(record.prices), Decimal(record.discount)
    usage, absorbed = Usage(*record.usage), Usage(*record.absorbed)
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
        **dict(zip(PRICES, map(Decimal, record.prices), strict=True)),
        "discount": discount,
        "discount_reason": record.discount_reason,
        **dict(zip(COUNTS, record.usage, strict=True)),
        "granted_input_tokens": granted.input_tokens,
        "granted_cached_input_tokens": granted.cached_input_tokens,
        "granted_output_tokens": granted.output_tokens,
        "list_cost": list_cost(usage, prices),
        "cost": cost(usage, granted, prices, discount),
        **{f"absorbed_{name}": count for name, count in zip(COUNTS, record.absorbed, strict=True)},
        "absorbed_reason": record.absorbed_reason,
        "buy_prices": record.buy_prices and [Decimal(price) for price in record.buy_prices],
        "buy_cost": None if buy is None else list_cost(usage, buy),
        "absorbed_buy_cost": None if buy is None else list_cost(absorbed, buy) if absorbed != NOTHING else Decimal(0),
        "estimated_reason": record.estimated_reason,
        "streamed": record.streamed,
        "attempts": record.attempts,
    }
