"""Calls of a made-up October: many accounts, few models, in the order of time, each as the bytes that travel in the usage stream.

One partner makes `PARTNER_SHARE` of all calls, at most `PARTNER_MAX`: the proof of its month is what is verified.
Deterministic but for ids.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from billing.ids import new_call_id
from billing.ledger.record import UsageRecord
from billing.periods import Month
from gateway.sandbox.prices import LIST_PRICES

MONTH = Month(2026, 10)
ZONE = "Asia/Seoul"
PARTNER = "acc_00000000000000000000000000000000"
PARTNER_MAX = 100_000
PARTNER_SHARE = 0.1
ACCOUNTS = 2_000
_MODELS = ("solar-pro4", "solar-mini4", "solar-pro3")


def account(number: int) -> str:
    """The id of one of the accounts, as long as a real one."""
    return PARTNER if number == 0 else f"acc_{number:032x}"


def records(count: int, seed: int = 1) -> Iterator[bytes]:
    """`count` records, in the order in which they were accepted, spread over the month in `ZONE`."""
    some = random.Random(seed).random
    start, end = (int(t.timestamp() * 1000) for t in MONTH.bounds(ZONE))
    partner = min(PARTNER_SHARE, PARTNER_MAX / count)
    for at in range(count):
        accepted_ms = start + (end - start) * at // count
        number = 0 if some() < partner else 1 + int(some() * (ACCOUNTS - 1))
        caller, terms, after = _texts(number, _MODELS[int(some() ** 2 * 3)])
        used = f"[{20 + int(some() * 3980)},{int(some() * 500)},{1 + int(some() * 899)},0,0]"
        reason = '"client hung up"' if some() < 0.01 else "null"
        streamed = "true" if at % 2 == 0 else "false"
        made = f'["{new_call_id(accepted_ms).hex}",{caller},{accepted_ms}000000,{terms},{used},{reason},{streamed},{after}]'
        yield made.encode()


@lru_cache(maxsize=4 * ACCOUNTS)
def _texts(number: int, model: str) -> tuple[str, str, str]:
    """What all records of a caller for a model say, as JSON: account and key; month to why there is a discount; attempts to the end."""
    record = UsageRecord(
        call_id="",
        account_id=account(number),
        key_id=f"key_{number:032x}",
        accepted_ns=0,
        billing_month=str(MONTH),
        endpoint="chat",
        model_asked=model,
        model=model,
        model_answered=model,
        card_id="card_01a13d8097807ca7bfa102b227eb9e30",
        prices=_prices(model),
        discount=("0", "0.1", "0.2")[number % 3],
        discount_reason=("none", "club 10 %", "club 20 %")[number % 3],
        usage=(0, 0, 0, 0, 0),
        estimated_reason=None,
        streamed=True,
        attempts=1,
        buy_prices=_prices(model),
        zone=ZONE,
    )
    parts = [msgspec.json.encode(part).decode() for part in msgspec.to_builtins(record)]
    return ",".join(parts[1:3]), ",".join(parts[4:13]), ",".join(parts[16:])


def recorded_at() -> datetime:
    """When the ledger took them all: an instant of the made-up November."""
    return datetime(2026, 11, 1, 0, 0, tzinfo=UTC)


def _prices(model: str) -> tuple[str, str, str, str, str]:
    listed = LIST_PRICES[model]
    return listed["input"], listed.get("cached_input", listed["input"]), listed["output"], "0", "0"
