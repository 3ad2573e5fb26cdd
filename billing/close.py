"""Closing a month: from the ledger to issued invoices and shares, once.

    MonthRefused            why a month cannot be closed (now); nothing was written
    ├── MonthNotOver        it still runs in some account's zone, or the grace is not over; says from when on it is possible
    ├── EarlierMonthOpen    an earlier month has booked entries and is not closed, or its close was not finished
    └── LaterMonthClosed    a later month is closed: nothing can be booked into this one any more

Also raised before anything is written: `fx.RateMissing`, `money.UnknownCurrency`, `share.check.PlanUnsafe`.

The order decides: (1) every condition is checked and the month sealed in one short transaction, alone with the ledger; from
then on entries are booked into the next month, so what is to be billed stands still. (2) The accounts' invoices are issued in the
order of account ids, some in one transaction. (3) All shares are written in one. Each step finds out for itself whether
it was done before, so a close may be stopped anywhere and repeated, and any number may run at once.
Units: `grace_s` seconds. Calls that are settled but not drained yet must be flushed into the ledger by the caller; the grace
is for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.accounts.store import audit, zones
from billing.accounts.tables import Account
from billing.database import Session, Sessions
from billing.fx import newest, rate_on
from billing.invoice.draft import BASE_CURRENCY, Draft, FxQuote, Payer, draft_invoice
from billing.invoice.issue import issue_all
from billing.invoice.read import billed_in, find_invoice, find_invoices, first_credited, get_invoice
from billing.invoice.tables import Invoice
from billing.ledger.journal import hold_appends, seal
from billing.ledger.read import closed_months, first_booked
from billing.money import minor_unit
from billing.periods import Month
from billing.rating.read import BookedMonth, booked_accounts, booked_currencies, booked_month
from billing.share.month import check_month, compute_month
from billing.share.payout import Statement
from billing.share.pool import Billed
from billing.share.read import accounts_named, finished_months, share_month, shares_of
from billing.share.store import save_month

TOGETHER = 50
"""How many invoices are issued in one transaction: few enough that racing closers do not wait long for the counter."""

Progress = Callable[[int, int], None]
"""Told (steps done, steps in all) after each step."""


class MonthRefused(RuntimeError):
    """A month cannot be closed."""

    def __init__(self, month: Month, why: str) -> None:
        super().__init__(f"{month} cannot be closed: {why}")
        self.month = month


class MonthNotOver(MonthRefused):
    """It is too early."""

    def __init__(self, month: Month, possible_from: datetime) -> None:
        super().__init__(month, f"it is over in every account's zone, with the grace, from {possible_from.isoformat()}")
        self.possible_from = possible_from


class EarlierMonthOpen(MonthRefused):
    """Months are closed in their order."""

    def __init__(self, month: Month, earlier: str) -> None:
        super().__init__(month, f"{earlier} is not closed, or its close was not finished; close it first")
        self.earlier = earlier


class LaterMonthClosed(MonthRefused):
    """Nothing can be booked into it any more."""

    def __init__(self, month: Month, later: str) -> None:
        super().__init__(month, f"{later} is closed already")
        self.later = later


@dataclass(frozen=True, slots=True)
class InvoiceName:
    """An invoice of the month, by name; a draft has neither id nor number."""

    id: str | None
    number: str | None
    account_id: str
    currency: str
    total: Decimal
    status: str


@dataclass(frozen=True, slots=True)
class MonthClosed:
    """What a close (or its draft) came to; invoices and shares in the order of account ids."""

    month: Month
    draft: bool
    invoices: list[InvoiceName]
    shares: list[Statement]
    drafts: list[Draft] = field(default_factory=list)
    """The drafted invoices in full; empty after a real close."""


async def close_month(
    sessions: Sessions,
    month: Month,
    now: datetime,
    *,
    draft: bool,
    grace_s: int,
    actor: str,
    progress: Progress,
    seller: Mapping[str, Any] | None = None,
    together: int = TOGETHER,
) -> MonthClosed:
    """Close a month, or finish closing it, or say what closing it would come to (`draft`, writes nothing).

    `seller` is who issues the invoices, as they will say for good; so many are issued `together` in one transaction.
    """
    if draft:
        return await _draft_month(sessions, month, now, progress)
    await _seal_month(sessions, month, now, grace_s, actor)
    async with sessions() as session:
        accounts = [each for each in await booked_accounts(session, str(month)) if _is_billed_here(each)]
        booked = await booked_month(session, str(month))
    invoices: list[InvoiceName] = []
    for begin in range(0, len(accounts), together):
        some = accounts[begin : begin + together]
        async with sessions.begin() as session:
            issued = await _issue_some(session, some, month, booked, now, seller)
        invoices += [_name(invoice) for invoice in issued]
        for done in range(begin + 1, begin + len(some) + 1):
            progress(done, len(accounts) + 1)
    async with sessions.begin() as session:
        shares = await _share_once(session, month, now)
    progress(len(accounts) + 1, len(accounts) + 1)
    return MonthClosed(month, False, invoices, shares)


async def _seal_month(sessions: Sessions, month: Month, now: datetime, grace_s: int, actor: str) -> None:
    async with sessions.begin() as session:
        if str(month) in await closed_months(session):
            return
        possible_from = await _over_at(session, month) + timedelta(seconds=grace_s)
        if now < possible_from:
            raise MonthNotOver(month, possible_from)
        await check_month(session, month)
        await hold_appends(session)
        closed = await closed_months(session)
        if str(month) in closed:
            return
        await _check_order(session, month, closed)
        for currency in await booked_currencies(session, str(month), BASE_CURRENCY):
            minor_unit(currency)
            await rate_on(session, f"{BASE_CURRENCY}/{currency}", month.last_day())
        await seal(session, month, now)
        audit(session, actor, "month.close", str(month), {"grace_s": grace_s}, now)


async def _over_at(session: Session, month: Month) -> datetime:
    """When the month is over in every account's zone. In UTC, because adding to a local time would add hours of the clock."""
    return max(month.bounds(zone)[1].astimezone(UTC) for zone in await zones(session) or {"UTC"})


async def _check_order(session: Session, month: Month, closed: Sequence[str]) -> None:
    if closed and closed[-1] > str(month):
        raise LaterMonthClosed(month, closed[-1])
    unfinished = set(closed) - await finished_months(session)
    if unfinished:
        raise EarlierMonthOpen(month, min(unfinished))
    span = (closed[-1] if closed else "", str(month))
    waiting = [await first_booked(session, *span), await first_credited(session, *span)]
    if earlier := min((one for one in waiting if one is not None), default=None):
        raise EarlierMonthOpen(month, earlier)


async def _issue_some(
    session: Session,
    accounts: Sequence[Account],
    month: Month,
    booked: Mapping[str, BookedMonth],
    now: datetime,
    seller: Mapping[str, Any] | None,
) -> list[Invoice]:
    """The invoices of accounts, in their order; those that stand already are not drafted again."""
    known = await find_invoices(session, [account.id for account in accounts], str(month))
    standing = {invoice.account_id: invoice for invoice in known}
    day, quotes, drafts = month.last_day(), dict[str, FxQuote](), list[Draft]()
    for account in accounts:
        if account.id in standing:
            continue
        if account.currency not in (BASE_CURRENCY, *quotes):
            rate = await rate_on(session, f"{BASE_CURRENCY}/{account.currency}", day)
            quotes[account.currency] = FxQuote(day, rate)
        draft = _draft_one(account, month, booked[account.id], quotes.get(account.currency))
        drafts += [draft] if draft else []
    standing |= {invoice.account_id: invoice for invoice in await issue_all(session, drafts, now, seller)}
    return [standing[account.id] for account in accounts if account.id in standing]


def _is_billed_here(account: Account) -> bool:
    """Whose usage Stripe bills by its meter never gets an invoice of ours as well."""
    return account.billing != "stripe_meter"


def _draft_one(account: Account, month: Month, booked: BookedMonth, fx: FxQuote | None) -> Draft | None:
    payer = Payer(
        account.id,
        account.currency,
        account.tax_country,
        account.name,
        account.tax_registration_number,
        account.tax_details,
    )
    return draft_invoice(payer, str(month), booked.groups, booked.cost, fx)


async def _share_once(session: Session, month: Month, now: datetime) -> list[Statement]:
    if await share_month(session, str(month)) is None:
        issued = await billed_in(session, str(month))
        accounts = await accounts_named(session, issued)
        billed = [Billed(accounts[account_id], lines, number) for account_id, (number, lines) in issued.items()]
        shared = await compute_month(session, month, billed, now)
        if await save_month(session, shared.month, shared.statements):
            return list(shared.statements)
    return await shares_of(session, str(month))


async def _draft_month(sessions: Sessions, month: Month, now: datetime, progress: Progress) -> MonthClosed:
    """One consistent snapshot, read only. A month that still runs is converted at the newest rate known."""
    names: list[InvoiceName] = []
    drafts: list[Draft] = []
    billed: list[Billed] = []
    async with sessions() as session:
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
        await check_month(session, month)
        accounts = [each for each in await booked_accounts(session, str(month)) if _is_billed_here(each)]
        booked = await booked_month(session, str(month))
        for done, account in enumerate(accounts, start=1):
            standing = await find_invoice(session, account.id, str(month))
            if standing is not None:
                names.append(_name(standing))
                billed.append(Billed(account, (await get_invoice(session, standing.id)).lines, standing.number))
            elif draft := _draft_one(account, month, booked[account.id], await _newest_quote(session, account, month)):
                names.append(_name(draft))
                drafts.append(draft)
                billed.append(Billed(account, draft.lines))
            progress(done, len(accounts) + 1)
        if await share_month(session, str(month)) is None:
            shares = list((await compute_month(session, month, billed, now)).statements)
        else:
            shares = await shares_of(session, str(month))
    progress(len(accounts) + 1, len(accounts) + 1)
    return MonthClosed(month, True, names, shares, drafts)


async def _newest_quote(session: Session, account: Account, month: Month) -> FxQuote | None:
    if account.currency == BASE_CURRENCY:
        return None
    row = await newest(session, f"{BASE_CURRENCY}/{account.currency}", month.last_day())
    return FxQuote(row.day, row.rate)


def _name(invoice: Invoice | Draft) -> InvoiceName:
    return InvoiceName(invoice.id, invoice.number, invoice.account_id, invoice.currency, invoice.total, invoice.status)
