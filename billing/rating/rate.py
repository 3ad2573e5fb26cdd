"""From sums of ledger entries to exact lines. Pure.

Units: quantities are tokens or pages; unit prices USD per million tokens, or USD per page; amounts exact USD, never rounded.
Conventions: `quantity × price of one × (1 − discount)` is the exact amount of *every* line. So what grants paid for stands on a
line of its own, at the price that it would have had, with a discount of 1; the quantities of both lines sum to what was used.
Negative sums (reversals that came a month later) are rated like any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from billing.money import ZERO, multiply
from billing.prices import ModelPrice
from billing.usage import PAGE_KINDS, TOKEN_KINDS

KINDS = (*TOKEN_KINDS, *PAGE_KINDS)
COVERED = Decimal(1)
"""The discount on what a grant paid for."""


@dataclass(frozen=True, slots=True)
class Booked:
    """What the entries of one group sum to: one model, kind, card, unit price, discount and month of the calls."""

    model: str
    kind: str
    card_id: str
    unit_price: Decimal
    discount: Decimal
    billing_month: str
    used: int
    granted: int = 0


class LineKey(NamedTuple):
    """What makes two quantities the same line."""

    billing_month: str
    model: str
    kind: str
    card_id: str
    unit_price: Decimal
    discount: Decimal
    granted: bool


@dataclass(frozen=True, slots=True)
class RatedLine:
    """One line of a bill, exact: either paid for, or covered by grants (`granted`)."""

    model: str
    kind: str
    card_id: str
    unit_price: Decimal
    discount: Decimal
    billing_month: str
    quantity: int
    exact_usd: Decimal
    granted: bool


def rate(booked: Iterable[Booked]) -> list[RatedLine]:
    """The lines of an account's month, in the order in which an invoice shows them; the order of `booked` does not matter."""
    quantities: dict[LineKey, int] = defaultdict(int)
    for group in booked:
        paid = _key(group, group.discount, granted=False)
        quantities[paid] += group.used - group.granted
        quantities[_key(group, COVERED, granted=True)] += group.granted
    lines = [_line(key, quantity) for key, quantity in quantities.items() if quantity]
    return sorted(lines, key=_place)


def exact_usd(quantity: int, kind: str, unit_price: Decimal, discount: Decimal) -> Decimal:
    """What a quantity costs, exact USD."""
    return multiply(quantity, ModelPrice(**{kind: unit_price}).unit(kind), 1 - discount)


def _key(group: Booked, discount: Decimal, *, granted: bool) -> LineKey:
    return LineKey(group.billing_month, group.model, group.kind, group.card_id, group.unit_price, discount, granted)


def _line(key: LineKey, quantity: int) -> RatedLine:
    amount = ZERO if key.granted else exact_usd(quantity, key.kind, key.unit_price, key.discount)
    return RatedLine(
        model=key.model,
        kind=key.kind,
        card_id=key.card_id,
        unit_price=key.unit_price,
        discount=key.discount,
        billing_month=key.billing_month,
        quantity=quantity,
        exact_usd=amount,
        granted=key.granted,
    )


def _place(line: RatedLine) -> tuple[str, str, int, str, Decimal, bool, Decimal]:
    """By month of the calls, model, kind, card, price; what is paid for before what is granted."""
    kind = KINDS.index(line.kind)
    return line.billing_month, line.model, kind, line.card_id, line.unit_price, line.granted, line.discount
