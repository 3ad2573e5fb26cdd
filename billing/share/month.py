"""A month's shares: everything that they depend on is read in one transaction, and computed once.

Errors: `PlanUnsafe` where the plan in force could be milked (see `check`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.club.store import contributions_of
from billing.club.tier_store import tier_tables
from billing.database import Session
from billing.invoice.read import Credited, credited_in
from billing.money import ZERO
from billing.periods import Month
from billing.rate_cards import all_cards
from billing.share.check import check_plan
from billing.share.corrections import Credit, TakenBack, taken_back
from billing.share.payout import Statement, statements_of, to_wire_pools, to_wire_terms
from billing.share.pool import Billed, highest_discount, partners_of, revenue_of, trained_on
from billing.share.read import accounts_named, carried_into, manifests, stood_months
from billing.share.rules import Terms, rule_named
from billing.share.split import pools_of, shown, split
from billing.share.store import plan_in_force
from billing.share.tables import ShareMonth


@dataclass(frozen=True, slots=True)
class Shared:
    """What a month's shares come to, before anything is written."""

    month: ShareMonth
    statements: Sequence[Statement]


async def check_month(session: Session, month: Month) -> None:
    """Raises `PlanUnsafe` where the plan in force allows to take out more than was paid for."""
    plan = await plan_in_force(session, str(month))
    if plan is None:
        return
    contributions = await contributions_of(session)
    accounts = await accounts_named(session, (row.account_id for row in contributions))
    check_plan(plan.id, plan.pool_rate, highest_discount(contributions, accounts, month, await tier_tables(session)))


async def compute_month(
    session: Session,
    month: Month,
    billed: Sequence[Billed],
    now: datetime,
) -> Shared:
    """The shares of a month from the lines of its invoices, and what its credit notes take back of earlier months.

    Without a plan in force there are none, and there was none before: a plan holds until a later one takes over.
    """
    plan = await plan_in_force(session, str(month))
    if plan is None:
        return Shared(ShareMonth(month=str(month), pool=ZERO, house=ZERO, pools=[], computed_at=now), [])
    contributions = await contributions_of(session)
    accounts = await accounts_named(session, (row.account_id for row in contributions))
    # Again, because a plan may have been posted between the sealing of the month and now.
    check_plan(plan.id, plan.pool_rate, highest_discount(contributions, accounts, month, await tier_tables(session)))
    revenue = revenue_of(billed)
    datasets = trained_on({each.model for each in revenue}, await manifests(session), await all_cards(session), month)
    rule, terms = rule_named(plan.rule), Terms(plan.pool_rate, plan.payer_cap)
    pools, kept = pools_of(revenue, rule, terms, datasets)
    back = await _taken_back(session, month)
    parts = split(pools, partners_of(contributions, accounts, month), back, kept)
    carried = await carried_into(session, str(month))
    invoices = {each.account.id: each.invoice_number for each in billed}
    return Shared(
        ShareMonth(
            month=str(month),
            plan_id=plan.id,
            pool=parts.pool,
            house=shown(parts.house),
            pools=to_wire_pools(pools, parts.with_house, revenue, invoices),
            computed_at=now,
        ),
        statements_of(
            str(month),
            parts,
            carried,
            plan.minimum_payout,
            plan.rule,
            to_wire_terms(rule, terms, plan.minimum_payout),
        ),
    )


async def _taken_back(session: Session, month: Month) -> list[TakenBack]:
    new = await credited_in(session, str(month))
    back: list[TakenBack] = []
    for stood in await stood_months(session, {row.invoice_month for row in new}):
        earlier: list[Credited] = []
        between = Month.parse(stood.month).next()
        while between < month:
            earlier += await credited_in(session, str(between))
            between = between.next()
        back += taken_back(stood, _credits(earlier, stood.month), _credits(new, stood.month))
    return back


def _credits(rows: Iterable[Credited], invoice_month: str) -> list[Credit]:
    return [Credit(row.account_id, row.model, row.exact_usd) for row in rows if row.invoice_month == invoice_month]
