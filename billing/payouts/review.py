"""What an operator looks at before a payment run: who feeds whose share, and which accounts seem to belong together.

Reads a finished month's statements and pools, accounts, payees and the ledger; writes nothing. Bounds: accounts compared by their
calls, sizes of calls looked at. Units: exact fractions of a USD.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from billing.database import Session
from billing.payouts.read import alike_calls, all_accounts, payees
from billing.payouts.tables import Payee
from billing.share.patterns import Fed, Flow, fed
from billing.share.read import share_month, shares_of
from billing.share.related import Known, Suggestion, suggested

COMPARED_MAX = 50
"""Accounts whose calls are compared: those that feed the most, and those that are fed by them."""


@dataclass(frozen=True, slots=True)
class Review:
    """A month under review."""

    fed: list[Fed]
    suggestions: list[Suggestion]


async def review(session: Session, month: str) -> Review:
    """Each owner group's share of a month, and suggestions for owner groups; empty where the month is not shared out."""
    flows = await _flows(session, month)
    known = await _known(session)
    weight: dict[str, Fraction] = {}
    for flow in flows:
        for account_id in (flow.payer_id, flow.partner_id):
            weight[account_id] = weight.get(account_id, Fraction(0)) + flow.usd
    compared = sorted(weight, key=lambda account_id: (-weight[account_id], account_id))[:COMPARED_MAX]
    suggestions = suggested(known, await alike_calls(session, month, compared))
    return Review(fed(flows, [frozenset(each.owner_groups) for each in suggestions]), suggestions)


async def _flows(session: Session, month: str) -> list[Flow]:
    row = await share_month(session, month)
    if row is None:
        return []
    payers = {pool["payer"]: (pool["account_id"], pool["owner_group"]) for pool in row.pools}
    groups = {account.id: account.owner_group for account in await all_accounts(session)}
    return [
        Flow(
            share.account_id,
            groups[share.account_id],
            *payers[step["payer"]],
            Fraction(step["pool_fraction"]) * Fraction(step["weight"]) / Fraction(step["weight_total"]),
        )
        for share in await shares_of(session, month)
        for step in share.steps
        if step["kind"] == "pool"
    ]


async def _known(session: Session) -> list[Known]:
    paid = await payees(session)
    return [
        Known(
            account.id,
            account.owner_group,
            tuple(
                number
                for number in (account.tax_registration_number, _number(paid.get(account.id)))
                if number is not None
            ),
            tuple([paid[account.id].destination] if account.id in paid else ()),
        )
        for account in await all_accounts(session)
    ]


def _number(payee: Payee | None) -> str | None:
    return None if payee is None else payee.registration_number
