"""A simulated year, told twice: as plain facts, and as what the gateway would settle under the product's own rules.

The facts are prices with the day in Seoul from which they hold, contributions, and calls with their counts. The recount
(`expected`) reads them with fractions and calendars of its own: it shares no arithmetic, no card, no tier and no month with `billing`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import floor
from zoneinfo import ZoneInfo

import msgspec

from billing.ids import uuid7
from billing.ledger.entry import Settled
from billing.ledger.record import ORPHANED, UsageRecord, to_wire_prices
from billing.periods import Month
from billing.prices import RateCard, find_card, newest_first, price_on
from billing.terms import Terms

SEOUL = timezone(timedelta(hours=9))
KINDS = ("input", "cached_input", "output")

STANDARD = [  # (from this day in Seoul on, model -> input, cached input, output in USD per million)
    (date(2026, 1, 1), {"solar-pro4": ("0.30", "0.06", "1.20"), "solar-mini": ("0.123456789", "0.0123", "0.7")}),
    (date(2026, 4, 1), {"solar-pro4": ("0.25", "0.05", "1.00")}),
    (date(2026, 7, 15), {"solar-mini": ("0.1", "0.01", "0.65")}),
    (date(2026, 10, 1), {"solar-pro4": ("0.275", "0.055", "1.111111")}),
]
NEGOTIATED = [(date(2026, 6, 10), {"solar-pro4": ("0.20", "0.04", "0.9")})]
GIVEN = [  # (instant, accepted tokens from then on): a contribution, one more, a correction of it, a withdrawal
    (datetime(2026, 2, 10, 1, 2, 3, tzinfo=UTC), 120_000_000),
    (datetime(2026, 5, 20, 15, 0, tzinfo=UTC), 1_120_000_000),
    (datetime(2026, 9, 5, 3, 4, 5, 678000, tzinfo=UTC), 620_000_000),
    (datetime(2026, 11, 11, 11, 11, 11, tzinfo=UTC), 500_000_000),
]
TIERS = [(1_000_000_000, Fraction(1, 5)), (100_000_000, Fraction(1, 10))]


@dataclass(frozen=True)
class Payer:
    """Who calls, as plain facts."""

    name: str
    currency: str
    zone: str
    korean: bool
    partner: bool = False
    negotiated: bool = False


PAYERS = (
    Payer("partner", "KRW", "Asia/Seoul", korean=True, partner=True),
    Payer("negotiated", "USD", "Asia/Seoul", korean=True, negotiated=True),
    Payer("abroad", "USD", "America/Los_Angeles", korean=False),
    Payer("plain", "KRW", "Asia/Seoul", korean=True),
)


@dataclass(frozen=True)
class Fact:
    """One call. `guessed` is what was booked for it first, where its end was only learnt later."""

    payer: Payer
    at: datetime
    model: str
    counts: tuple[int, int, int]
    granted: tuple[int, int, int] = (0, 0, 0)
    booked: tuple[int, int] = (0, 0)
    guessed: tuple[int, int, int] | None = None
    exact_booked: tuple[int, int] | None = None


@dataclass
class Line:
    quantity: int = 0
    usd: Fraction = field(default_factory=Fraction)


Key = tuple[tuple[int, int], str, str, Fraction, Fraction, bool]
"""Month of the call, model, kind, unit price, discount, granted."""


def month_of(at: datetime, zone: str) -> tuple[int, int]:
    local = at.astimezone(ZoneInfo(zone))
    return local.year, local.month


def price_of(fact: Fact) -> tuple[tuple[Fraction, Fraction, Fraction], Fraction]:
    """USD per million by kind, and the discount: from the facts alone."""
    day = fact.at.astimezone(SEOUL).date()
    own = [card[fact.model] for since, card in NEGOTIATED if since <= day and fact.model in card]
    if fact.payer.negotiated and own:
        price, discount = own[-1], Fraction(0)
    else:
        price = [card[fact.model] for since, card in STANDARD if since <= day and fact.model in card][-1]
        tokens = [0, *(so_far for instant, so_far in GIVEN if instant <= fact.at)][-1]
        reached = [off for least, off in TIERS if tokens >= least] if fact.payer.partner else []
        discount = max(reached, default=Fraction(0))
    return (Fraction(price[0]), Fraction(price[1]), Fraction(price[2])), discount


def expected(facts: list[Fact], payer: Payer, month: tuple[int, int]) -> dict[Key, Line]:
    """The lines of a payer's invoice of a month."""
    lines: dict[Key, Line] = defaultdict(Line)
    for fact in facts:
        if fact.payer != payer:
            continue
        for counts, booked, sign in _entries(fact):
            if booked == month:
                _add(lines, fact, counts, sign)
    return {key: line for key, line in lines.items() if line.quantity}


def _entries(fact: Fact) -> list[tuple[tuple[int, int, int], tuple[int, int], int]]:
    if fact.guessed is None or fact.exact_booked is None:
        return [(fact.counts, fact.booked, 1)]
    return [(fact.guessed, fact.booked, 1), (fact.guessed, fact.exact_booked, -1), (fact.counts, fact.exact_booked, 1)]


def _add(lines: dict[Key, Line], fact: Fact, counts: tuple[int, int, int], sign: int) -> None:
    prices, discount = price_of(fact)
    of = month_of(fact.at, fact.payer.zone)
    granted = fact.granted if counts == fact.counts and fact.guessed is None else (0, 0, 0)
    for kind, price, count, free in zip(KINDS, prices, counts, granted, strict=True):
        paid = lines[of, fact.model, kind, price, discount, False]
        paid.quantity += sign * (count - free)
        paid.usd += sign * (count - free) * price / 1_000_000 * (1 - discount)
        lines[of, fact.model, kind, price, Fraction(1), True].quantity += sign * free


def half_up(exact: Fraction, unit: Fraction) -> Fraction:
    """To the unit; a tie goes away from zero."""
    size = floor(abs(exact) / unit + Fraction(1, 2)) * unit
    return size if exact >= 0 else -size


# ---- the same calls, as the gateway settles them under the product's rules ---------------------------------------------------


def settle(
    fact: Fact, account_id: str, cards: list[RateCard], terms: Terms, grants: tuple[tuple[str, str, int], ...] = ()
) -> list[Settled]:
    """The records of a call: one, or its estimate and its exact settlement."""
    found = find_card(newest_first(cards), fact.model, account_id, fact.at)
    assert found is not None
    tier = [reached for reached in terms.tiers if reached.since <= fact.at][-1:]
    discount, reason = (tier[0].tier.discount, tier[0].reason) if tier else (Decimal(0), "none")
    price = price_on(*found, discount, reason)
    now_ms = int(fact.at.timestamp() * 1000)
    record = UsageRecord(
        call_id=uuid7(now_ms).hex,
        account_id=account_id,
        key_id="key_1",
        accepted_ns=int(fact.at.timestamp() * 1_000_000) * 1000,
        billing_month=str(Month.of(fact.at, fact.payer.zone)),
        endpoint="/v1/chat/completions",
        model_asked=fact.model,
        model=price.model,
        model_answered=None,
        card_id=price.card_id,
        prices=to_wire_prices(price),
        discount=str(price.discount),
        discount_reason=price.discount_reason,
        usage=(*fact.counts, 0, 0),
        estimated_reason=None,
        streamed=False,
        attempts=1,
    )
    if fact.guessed is None:
        return [Settled(record, grants)]
    guess = msgspec.structs.replace(record, usage=(*fact.guessed, 0, 0), estimated_reason=f"{ORPHANED}: test")
    return [Settled(guess), Settled(record)]


def random_facts(rng: random.Random, month: tuple[int, int]) -> list[Fact]:
    """Calls of a month: at any instant, many of them around midnight in Seoul and in Los Angeles; some late, some corrected."""
    start = datetime(*month, 1, tzinfo=UTC)
    after = (month[0] + month[1] // 12, month[1] % 12 + 1)
    facts = []
    for payer in PAYERS:
        for _ in range(rng.randint(4, 9)):
            at = start + timedelta(seconds=rng.randrange(27 * 86400), milliseconds=rng.randrange(1000))
            if rng.random() < 0.4:
                hour = rng.choice([14, 15, 6, 7, 8])
                at = at.replace(hour=hour, minute=rng.choice([0, 59]), second=rng.choice([0, 59]), microsecond=0)
            counts = (
                rng.randrange(10 ** rng.randint(3, 8)),
                rng.randrange(10**6),
                rng.randrange(10 ** rng.randint(3, 7)),
            )
            fact = Fact(payer, at, rng.choice(["solar-pro4", "solar-mini"]), counts)
            late = rng.random() < 0.2
            fact = replace(fact, booked=after if late else month)
            if not late and rng.random() < 0.15:
                guessed = (rng.randrange(counts[0] + 1), rng.randrange(counts[1] + 1), rng.randrange(counts[2] + 1))
                fact = replace(fact, guessed=guessed, exact_booked=after if rng.random() < 0.7 else month)
            elif payer.partner and rng.random() < 0.5:
                output = rng.choice([counts[2], rng.randrange(counts[2] + 1)])
                fact = replace(fact, granted=(rng.randrange(counts[0] + 1) if output == counts[2] else 0, 0, output))
            facts.append(fact)
    return facts
