"""From a split to statements: what is paid out, and what is too small and carries over. Pure.

Units: USD, whole cents. `amount` is the partner's part of this month's pool (the parts sum to the pool); with what earlier
months carried in, it is paid out once it reaches the plan's minimum, and else carried over whole: nothing is ever lost.
Other currencies are converted when money is sent, not here (design.md section 5.7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.money import ZERO, add, to_wire_decimal
from billing.share.corrections import TakenBack
from billing.share.rules import Revenue, Rule, Terms
from billing.share.split import CURRENCY, Part, Pool, Split, Step, number_payers, shown


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
    terms: dict[str, Any] = field(default_factory=dict, repr=False)
    """What the plan and the rule say, in words and numbers."""


def pay_out(amount: Decimal, carried_in: Decimal, minimum: Decimal) -> tuple[Decimal, Decimal]:
    """(paid out now, carried over): all of it or nothing."""
    due = add([amount, carried_in])
    return (due, ZERO) if due >= max(minimum, ZERO) else (ZERO, due)


def statements_of(
    month: str,
    split: Split,
    carried: Mapping[str, Decimal],
    minimum: Decimal,
    rule: str,
    terms: Mapping[str, Any] | None = None,
) -> list[Statement]:
    """The statements of all partners, and of those who only have something carried in; by account id."""
    parts = {part.account_id: part for part in split.parts}
    for account_id in carried:
        parts.setdefault(account_id, Part(account_id, ZERO, ZERO, ()))
    statements = []
    for _, part in sorted(parts.items()):
        carried_in = carried.get(part.account_id, ZERO)
        payout, carried_over = pay_out(part.amount, carried_in, minimum)
        statements.append(_statement(month, split, part, (carried_in, payout, carried_over), rule, dict(terms or {})))
    return statements


def _statement(
    month: str,
    split: Split,
    part: Part,
    money: tuple[Decimal, Decimal, Decimal],
    rule: str,
    terms: dict[str, Any],
) -> Statement:
    carried_in, payout, carried_over = money
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
        steps=[
            *(to_wire_step(step) for step in part.steps),
            *(to_wire_taken_back(each) for each in part.taken_back),
        ],
        terms=terms,
    )


def to_wire_terms(rule: Rule, terms: Terms, minimum: Decimal) -> dict[str, Any]:
    """The plan as a statement prints it."""
    return {
        "rule_words": rule.words,
        "pool_rate": to_wire_decimal(terms.pool_rate),
        "payer_cap": None if terms.payer_cap is None else to_wire_decimal(terms.payer_cap),
        "minimum_payout": to_wire_decimal(minimum),
    }


def to_wire_step(step: Step) -> dict[str, Any]:
    """One line of "why is my share this": what an unnamed payer's invoice brought in, what it put up, and which part of it this is.

    Amounts that are no decimals are shown to 18 places, cut; `pool_fraction` is exact. They are reckoned as exact fractions.
    """
    return {
        "kind": "pool",
        "payer": step.payer,
        "model": step.model,
        "net_revenue": to_wire_decimal(step.net),
        "pool": to_wire_decimal(shown(step.pool)),
        "pool_fraction": str(step.pool),
        "weight": to_wire_decimal(step.weight),
        "weight_total": to_wire_decimal(step.weight_total),
        "fraction": f"{to_wire_decimal(step.weight)}/{to_wire_decimal(step.weight_total)}",
        "exact_amount": to_wire_decimal(shown(step.pool * Fraction(step.weight) / Fraction(step.weight_total))),
    }


def to_wire_taken_back(each: TakenBack) -> dict[str, Any]:
    """What a credit note took back of an earlier month; `payer` is the number that the payer had in that month."""
    return {
        "kind": "correction",
        "month": each.month,
        "payer": each.payer,
        "model": each.model,
        "exact_amount": to_wire_decimal(shown(each.exact)),
        "exact_fraction": str(each.exact),
    }


def to_wire_pools(
    pools: Sequence[Pool],
    with_house: Sequence[Pool],
    revenue: Sequence[Revenue] = (),
    invoices: Mapping[str, str | None] | None = None,
) -> list[dict[str, Any]]:
    """A month's pools with the names and invoices of their payers: for finance only."""
    numbers, left = number_payers(pools), {(pool.payer_id, pool.model) for pool in with_house}
    usage = {(each.payer_id, each.model): each.usage for each in revenue}
    return [
        {
            "payer": numbers[pool.payer_id],
            "account_id": pool.payer_id,
            "owner_group": pool.owner_group,
            "invoice": (invoices or {}).get(pool.payer_id),
            "model": pool.model,
            "net_revenue": to_wire_decimal(pool.net),
            "usage_at_list": to_wire_decimal(usage.get((pool.payer_id, pool.model), ZERO)),
            "pool": to_wire_decimal(shown(pool.exact)),
            "pool_fraction": str(pool.exact),
            "datasets": None if pool.datasets is None else sorted(pool.datasets),
            "with_house": (pool.payer_id, pool.model) in left,
        }
        for pool in pools
    ]
