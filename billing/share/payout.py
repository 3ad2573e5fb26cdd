"""From a split to statements: what is paid out, and what is too small and carries over. Pure.

Units: USD, whole cents. `amount` is the partner's part of this month's pool (the parts sum to the pool); with what earlier
months carried in, it is paid out once it reaches the plan's minimum, and else carried over whole: nothing is ever lost.
Other currencies are converted when money is sent, not here (design.md section 5.7).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.money import ZERO, add, multiply, to_wire_decimal
from billing.share.split import CURRENCY, Part, Pool, Split, Step, number_payers

_SHOWN_PLACES = 18


@dataclass(frozen=True, slots=True)
class Statement:
    """A partner's share of a month."""

    account_id: str
    month: str
    pool: Decimal
    weight: Decimal
    amount: Decimal
    carried_in: Decimal
    carried_over: Decimal
    payout: Decimal
    currency: str
    rule: str
    steps: list[dict[str, Any]] = field(repr=False)


def pay_out(amount: Decimal, carried_in: Decimal, minimum: Decimal) -> tuple[Decimal, Decimal]:
    """(paid out now, carried over): all of it or nothing."""
    due = add([amount, carried_in])
    return (due, ZERO) if due >= max(minimum, ZERO) else (ZERO, due)


def statements_of(
    month: str, split: Split, carried: Mapping[str, Decimal], minimum: Decimal, rule: str
) -> list[Statement]:
    """The statements of all partners, and of those who only have something carried in; by account id."""
    parts = {part.account_id: part for part in split.parts}
    for account_id in carried:
        parts.setdefault(account_id, Part(account_id, ZERO, ZERO, ()))
    return [_statement(month, split, part, carried, minimum, rule) for _, part in sorted(parts.items())]


def _statement(
    month: str, split: Split, part: Part, carried: Mapping[str, Decimal], minimum: Decimal, rule: str
) -> Statement:
    carried_in = carried.get(part.account_id, ZERO)
    payout, carried_over = pay_out(part.amount, carried_in, minimum)
    return Statement(
        account_id=part.account_id,
        month=month,
        pool=split.pool,
        weight=part.weight,
        amount=part.amount,
        carried_in=carried_in,
        carried_over=carried_over,
        payout=payout,
        currency=CURRENCY,
        rule=rule,
        steps=[to_wire_step(step) for step in part.steps],
    )


def to_wire_step(step: Step) -> dict[str, Any]:
    """One line of "why is my share this". `exact_amount` is shown to 18 places, cut; it is reckoned as an exact fraction."""
    exact = Fraction(step.pool) * Fraction(step.weight) / Fraction(step.weight_total)
    shown = multiply(math.floor(exact * 10**_SHOWN_PLACES), Decimal(1).scaleb(-_SHOWN_PLACES))
    return {
        "payer": step.payer,
        "model": step.model,
        "pool": to_wire_decimal(step.pool),
        "weight": to_wire_decimal(step.weight),
        "weight_total": to_wire_decimal(step.weight_total),
        "fraction": f"{to_wire_decimal(step.weight)}/{to_wire_decimal(step.weight_total)}",
        "exact_amount": to_wire_decimal(shown),
    }


def to_wire_pools(pools: Sequence[Pool], with_house: Sequence[Pool]) -> list[dict[str, Any]]:
    """A month's pools with the names of their payers: for finance only."""
    numbers, left = number_payers(pools), {(pool.payer_id, pool.model) for pool in with_house}
    return [
        {
            "payer": numbers[pool.payer_id],
            "account_id": pool.payer_id,
            "model": pool.model,
            "pool": to_wire_decimal(pool.exact),
            "with_house": (pool.payer_id, pool.model) in left,
        }
        for pool in pools
    ]
