"""What an account is entitled to, read in one transaction: the terms of its calls, and the counters behind its caps.

Units: caps in nano-USD (a KRW cap at the rate of the month's first day, design.md section 6), tokens left of each grant.
Reads accounts, club and ledger; writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from billing.accounts.tables import Account
from billing.club.standing import token_steps
from billing.club.store import contributions_of, grants_left
from billing.club.tier_store import tier_tables
from billing.club.tiers import Reached, tier_changes
from billing.database import Session
from billing.fx import newest_rate
from billing.ledger.read import RunningTotal, totals_of
from billing.money import add, nano_usd_up
from billing.periods import Month


@dataclass(frozen=True, slots=True)
class Terms:
    """An account and the tiers it has reached, oldest first."""

    account: Account
    tiers: tuple[Reached, ...]
    usd_per_unit: Decimal | None
    """USD for one unit of the account's currency, at the rate for this month's caps; None where no rate is known."""

    def cap_nano_usd(self, cap: Decimal | None) -> int | None:
        """A cap in the account's currency as nano-USD; 0 where no rate is known (a cap that cannot be kept lets nothing pass)."""
        if cap is None:
            return None
        return 0 if self.usd_per_unit is None else nano_usd_up(cap * self.usd_per_unit)


@dataclass(frozen=True, slots=True)
class GrantLeft:
    """What is left of a grant, as far as the ledger knows."""

    id: str
    from_at: datetime
    until_at: datetime
    tokens_left: int


@dataclass(frozen=True, slots=True)
class Counters:
    """Where an account stands in the ledger."""

    epoch: int
    totals: dict[tuple[str, str], RunningTotal]
    grants: tuple[GrantLeft, ...]

    def month(self, month: str) -> RunningTotal:
        return _sum(total for (of, _), total in self.totals.items() if of == month)

    def key_month(self, key_id: str, month: str) -> RunningTotal:
        return self.totals.get((month, key_id), RunningTotal())

    def lifetime(self) -> RunningTotal:
        return _sum(self.totals.values())


def _sum(totals: Iterable[RunningTotal]) -> RunningTotal:
    listed = list(totals)
    return RunningTotal(add(total.cost for total in listed), sum(total.entries for total in listed))


async def load_terms(session: Session, account: Account, now: datetime) -> Terms:
    """The terms of an account that was read in this transaction."""
    accepted = token_steps(await contributions_of(session, account.id))
    usd_per_unit = await usd_per_unit_of(session, account.currency, account.timezone, now)
    return Terms(account, tier_changes(accepted, await tier_tables(session)), usd_per_unit)


async def units_per_usd_of(session: Session, currency: str, zone: str, now: datetime) -> Decimal | None:
    """How much of a currency one USD is worth, at the rate for this month's caps (that of its first day); None where none is known."""
    if currency == "USD":
        return Decimal(1)
    return await newest_rate(session, f"USD/{currency}", Month.of(now, zone).first_day())


async def usd_per_unit_of(session: Session, currency: str, zone: str, now: datetime) -> Decimal | None:
    """The same the other way round: USD for one unit of a currency."""
    rate = await units_per_usd_of(session, currency, zone, now)
    return None if rate is None else 1 / rate


async def load_counters(session: Session, account_id: str) -> Counters | None:
    """The counters of an account as of one snapshot of the database."""
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    account = await session.get(Account, account_id)
    if account is None:
        return None
    grants = await grants_left(session, account_id)
    left = tuple(GrantLeft(g.id, g.from_at.astimezone(UTC), g.ends_at.astimezone(UTC), tokens) for g, tokens in grants)
    return Counters(account.epoch, await totals_of(session, account_id), left)
