"""What a month's shares are made from: who paid what for which model, and whose text was in force at the month's end.

Units: net revenue is exact USD, before rounding and before any conversion: for a KRW invoice the exact USD beside its lines,
so that no exchange rate moves the share. Net means without tax, after discount and grants. `usage` is the same usage at list price,
before both. Pure: takes rows, returns values.
Conventions: a contribution is in force if it was accepted before the month's end in its account's zone and no linked entry
accepted by then undoes it; a correction counts itself. A manifest may name a model
or a snapshot of it; of all that name either, the newest stated before the month's end (in the house's zone) holds for the model. Where
the first of all was stated later, that one holds: what trained a model does not begin with its being written down. A restatement
changes no month that was over when it was made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from billing.accounts.tables import Account
from billing.club.standing import token_steps
from billing.club.tables import Contribution, TrainingManifest
from billing.club.tiers import TierTable, tier_changes
from billing.money import ZERO, add, multiply
from billing.periods import Month
from billing.prices import RateCard
from billing.rating.rate import exact_usd
from billing.share.rules import Revenue
from billing.share.split import Partner

HOUSE_ZONE = "Asia/Seoul"
"""The house's own months: by them manifests are dated, as invoice numbers are (billing/invoice/issue.py)."""


class Billed(NamedTuple):
    """A payer's invoice of the month, issued or drafted."""

    account: Account
    lines: Sequence[BilledLine]
    invoice_number: str | None = None


class BilledLine(Protocol):
    """A line of an invoice, issued or drafted."""

    @property
    def model(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def quantity(self) -> int: ...
    @property
    def unit_price(self) -> Decimal: ...
    @property
    def exact_usd(self) -> Decimal: ...


def revenue_of(billed: Iterable[Billed]) -> list[Revenue]:
    """What each payer's invoice brought in for each model, and the same usage at list price."""
    lines_of: dict[tuple[str, str, str], list[BilledLine]] = defaultdict(list)
    for account, printed, _ in billed:
        for line in printed:
            lines_of[account.id, account.owner_group, line.model].append(line)
    return [
        Revenue(
            *key,
            net=add(line.exact_usd for line in lines),
            usage=add(exact_usd(line.quantity, line.kind, line.unit_price, ZERO) for line in lines),
        )
        for key, lines in sorted(lines_of.items())
    ]


def partners_of(contributions: Sequence[Contribution], accounts: Mapping[str, Account], month: Month) -> list[Partner]:
    """The partners with contributions in force at the month's end, and their weights by dataset."""
    given: dict[str, list[tuple[str, Decimal]]] = defaultdict(list)
    for row in in_force(contributions, accounts, month):
        given[row.account_id].append((row.dataset, multiply(row.tokens, row.quality)))
    return [Partner(account_id, accounts[account_id].owner_group, tuple(rows)) for account_id, rows in given.items()]


def in_force(
    contributions: Sequence[Contribution], accounts: Mapping[str, Account], month: Month
) -> list[Contribution]:
    """The contributions that count at a month's end."""
    accepted = [row for row in contributions if row.accepted_at < _end(accounts, row, month)]
    undone = {row.undoes for row in accepted if row.undoes is not None}
    return [row for row in accepted if row.id not in undone and row.tokens > 0]


def highest_discount(
    contributions: Sequence[Contribution], accounts: Mapping[str, Account], month: Month, tables: Sequence[TierTable]
) -> Decimal:
    """The highest club discount that any account had reached by a month's end; zero without partners."""
    accepted: dict[str, list[Contribution]] = defaultdict(list)
    for row in contributions:
        if row.accepted_at < _end(accounts, row, month):
            accepted[row.account_id].append(row)
    in_time = [table for table in tables if table.effective_at < month.bounds(HOUSE_ZONE)[1]]
    changes = [change for rows in accepted.values() for change in tier_changes(token_steps(rows), in_time)]
    return max((change.tier.discount for change in changes), default=ZERO)


def trained_on(
    models: Iterable[str], manifests: Sequence[TrainingManifest], cards: Sequence[RateCard], month: Month
) -> dict[str, frozenset[str]]:
    """The datasets that trained each model that has a manifest, as of a month's end. `manifests` oldest first."""
    end = month.bounds(HOUSE_ZONE)[1]
    datasets: dict[str, frozenset[str]] = {}
    for model in models:
        names = {model} | {alias for card in cards for alias, of in card.aliases.items() if of == model}
        stated = [manifest for manifest in manifests if manifest.model in names]
        in_time = [manifest for manifest in stated if manifest.created_at < end]
        if stated:
            datasets[model] = frozenset((in_time[-1] if in_time else stated[0]).datasets)
    return datasets


def _end(accounts: Mapping[str, Account], row: Contribution, month: Month) -> datetime:
    return month.bounds(accounts[row.account_id].timezone)[1]
