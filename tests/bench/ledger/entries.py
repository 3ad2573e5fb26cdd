"""Calls of a made-up October: many accounts, few models, in the order of time, each as the bytes that travel in the usage stream.

One partner makes `PARTNER_SHARE` of all calls, at most `PARTNER_MAX`: the proof of its month is what is verified.
Deterministic but for ids.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

from billing.ids import uuid7
from billing.ledger.record import UsageRecord, to_wire_record
from billing.periods import Month
from gateway.sandbox.prices import LIST_PRICES

MONTH = Month(2026, 10)
ZONE = "Asia/Seoul"
PARTNER = "acc_00000000000000000000000000000000"
PARTNER_MAX = 100_000
PARTNER_SHARE = 0.1
ACCOUNTS = 2_000
_MODELS = ("solar-pro4", "solar-mini4", "solar-pro3")
_REASONS = (None,) * 99 + ("client hung up",)


def account(number: int) -> str:
    """The id of one of the accounts, as long as a real one."""
    return PARTNER if number == 0 else f"acc_{number:032x}"


def records(count: int, seed: int = 1) -> Iterator[bytes]:
    """`count` records, in the order in which they were accepted, spread over the month in `ZONE`."""
    rng = random.Random(seed)
    start, end = (int(t.timestamp() * 1000) for t in MONTH.bounds(ZONE))
    partner = min(PARTNER_SHARE, PARTNER_MAX / count)
    prices = {name: _prices(name) for name in _MODELS}
    for at in range(count):
        accepted_ms = start + (end - start) * at // count
        number = 0 if rng.random() < partner else rng.randrange(1, ACCOUNTS)
        model = _MODELS[int(rng.random() ** 2 * 3)]
        yield to_wire_record(
            UsageRecord(
                call_id=uuid7(accepted_ms).hex,
                account_id=account(number),
                key_id=f"key_{number:032x}",
                accepted_ns=accepted_ms * 1_000_000,
                billing_month=str(MONTH),
                endpoint="chat",
                model_asked=model,
                model=model,
                model_answered=model,
                card_id="card_01a13d8097807ca7bfa102b227eb9e30",
                prices=prices[model],
                discount=("0", "0.1", "0.2")[number % 3],
                discount_reason=("none", "club 10 %", "club 20 %")[number % 3],
                usage=(rng.randrange(20, 4000), rng.randrange(500), rng.randrange(1, 900), 0, 0),
                estimated_reason=_REASONS[rng.randrange(100)],
                streamed=at % 2 == 0,
                attempts=1,
                buy_prices=prices[model],
                zone=ZONE,
            )
        ).encode()


def recorded_at() -> datetime:
    """When the ledger took them all: an instant of the made-up November."""
    return datetime(2026, 11, 1, 0, 0, tzinfo=UTC)


def _prices(model: str) -> tuple[str, str, str, str, str]:
    listed = LIST_PRICES[model]
    return listed["input"], listed.get("cached_input", listed["input"]), listed["output"], "0", "0"
