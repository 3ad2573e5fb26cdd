"""Plain values that the rooms' tests hand around: a price, a caller, a call, and what the ledger knows. Units as in `gateway.call`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from billing.ids import uuid7
from billing.ledger.read import RunningTotal
from billing.periods import Month
from billing.prices import ModelPrice, Price
from billing.terms import Counters, GrantLeft
from gateway.call import NO_CAP, Call, Caller, RateLimit
from gateway.clock import from_ns
from gateway.errors import ServiceUnavailable
from gateway.keys.guesses import Guesses

PRICES = ModelPrice(Decimal("0.30"), Decimal("0.06"), Decimal("1.20"))
INPUT_NANO, CACHED_NANO, OUTPUT_NANO = 300, 60, 1200
FREE = ModelPrice()


def no_bound() -> Guesses:
    """An allowance for guesses that no test uses up by chance."""
    return Guesses(burst=10_000, per_minute=60, addresses_max=10)


def new_account_id() -> str:
    return f"acc_{uuid7(time.time_ns() // 1_000_000).hex}"


def a_price(prices: ModelPrice = PRICES, discount: str = "0", model: str = "solar-pro4") -> Price:
    return Price(model, "card_1", prices, Decimal(discount), "none")


def a_caller(
    account_id: str,
    *,
    key_id: str = "key_1",
    epoch: int = 1,
    cap_nano: int = NO_CAP,
    key_cap_nano: int = NO_CAP,
    prepaid_nano: int | None = None,
    limits: Sequence[RateLimit] = (),
    model_limits: Sequence[tuple[str, RateLimit]] = (),
) -> Caller:
    return Caller(
        account_id=account_id,
        key_id=key_id,
        epoch=epoch,
        zone="Asia/Seoul",
        currency="USD",
        rate_limits=tuple(limits),
        model_limits=tuple(model_limits),
        monthly_cap_nano_usd=cap_nano,
        key_cap_nano_usd=key_cap_nano,
        prepaid_nano_usd=prepaid_nano,
    )


def a_call(
    caller: Caller,
    *,
    prompt_max: int = 100,
    output_max: int = 100,
    output_expected: int | None = None,
    price: Price | None = None,
    accepted_ns: int | None = None,
    output_first: int | None = None,
    output_min: int = 0,
) -> Call:
    """A call whose hold is 300 × prompt_max + 1,200 × output_max nano-USD at the usual price."""
    now_ns = time.time_ns() if accepted_ns is None else accepted_ns
    return Call(
        id=uuid7(now_ns // 1_000_000),
        caller=caller,
        accepted_ns=now_ns,
        month=Month.of(from_ns(now_ns), caller.zone),
        endpoint="chat",
        model_asked=(price or a_price()).model,
        streamed=False,
        price=price or a_price(),
        prompt_tokens_max=prompt_max,
        prompt_tokens_best=prompt_max // 4,
        output_tokens_max=output_max,
        output_tokens_expected=output_max if output_expected is None else output_expected,
        output_tokens_first=output_first,
        output_tokens_min=output_min,
    )


@dataclass
class Books:
    """What the ledger knows of each account, as values; the tests write it, admission reads it."""

    epoch: int = 1
    totals: dict[tuple[str, str], RunningTotal] = field(default_factory=dict)
    grants: tuple[GrantLeft, ...] = ()
    reads: int = 0
    booked: set[str] = field(default_factory=set)
    away: bool = False

    async def read(self, account_id: str) -> Counters | None:
        self.reads += 1
        if self.away:
            raise ServiceUnavailable
        return Counters(self.epoch, dict(self.totals), self.grants)

    async def settled(self, call_ids: Sequence[str]) -> set[str]:
        if self.away:
            raise ServiceUnavailable
        return self.booked & set(call_ids)

    def grant(self, name: str, tokens: int, from_at: datetime, until_at: datetime) -> None:
        """One more grant; grants stand in the order of their expiry, as the ledger gives them."""
        given = (*self.grants, GrantLeft(name, from_at, until_at, tokens))
        self.grants = tuple(sorted(given, key=lambda grant: grant.until_at))
