"""Payees, holds, payment runs and reversals in Postgres; each in the audit log.

Errors: `PayoutNotFound`, `HoldNotFound`, `AlreadyReversed`; `ValueError` naming the field of a payee or a reason that cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import or_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from billing.accounts.registration import WrongRegistrationNumber, check_number
from billing.accounts.store import ERASED, audit, get
from billing.fx import RateMissing, newest
from billing.ids import new_id
from billing.money import MINOR_UNIT, ZERO, add, subtract, to_wire_decimal
from billing.payouts.papers import BASE_CURRENCY, KINDS, NoPaperRule, Reckoned, reckon
from billing.payouts.read import HoldNotFound, PayoutNotFound, due_until, holds, payees
from billing.payouts.tables import Payee, Payout, PayoutHold
from billing.periods import Month, zone_of
from billing.share.pool import HOUSE_ZONE

REASON_MAX = 500
DESTINATIONS = ("bank", "stripe")
_DESTINATION_FIELDS_MAX = 10
_DESTINATION_LETTERS_MAX = 100


class AlreadyReversed(ValueError):
    """It was undone before, or is a reversal itself."""

    def __init__(self, payout_id: str) -> None:
        super().__init__(f"payout {payout_id} was reversed already, or is a reversal itself")
        self.payout_id = payout_id


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A statement that a payment run did not pay, and why: `held`, `no_payee`, `no_paper_rule` or `no_fx_rate`."""

    account_id: str
    month: str
    usd: Decimal
    why: str
    detail: str


async def set_payee(
    session: AsyncSession, account_id: str, values: Mapping[str, Any], actor: str, now: datetime
) -> Payee:
    """State whom an account's shares are paid to, from now on; what was paid stays as it was."""
    await get(session, account_id)
    kind, currency, destination = values["kind"], values["currency"], dict(values["destination"])
    if kind not in KINDS:
        raise ValueError(f"kind: must be one of {', '.join(KINDS)}")
    if currency not in MINOR_UNIT:
        raise ValueError(f"currency: must be one of {', '.join(MINOR_UNIT)}")
    if not values["legal_name"].strip():
        raise ValueError("legal_name: tax papers name the payee")
    if destination.get("kind") == "stripe" and not destination.get("account", "").startswith("acct_"):
        raise ValueError("destination: its account must be the payee's at Stripe, such as acct_1Nv0FGQ9RKHgCVdK")
    if destination.get("kind") not in DESTINATIONS:
        raise ValueError(f"destination: its kind must be one of {', '.join(DESTINATIONS)}")
    if len(destination) > _DESTINATION_FIELDS_MAX or any(
        len(f"{name}{text}") > _DESTINATION_LETTERS_MAX for name, text in destination.items()
    ):
        raise ValueError(f"destination: at most {_DESTINATION_FIELDS_MAX} short texts")
    country = values["country"].upper()
    if len(country) != 2 or not country.isascii() or not country.isalpha():
        raise ValueError("country: must be two letters, such as KR")
    if kind == "business" and not values.get("registration_number"):
        raise ValueError("registration_number: a business needs one for its tax invoice")
    if kind == "business":
        _check_number(country, values["registration_number"])
    payee = Payee(
        id=new_id("pye", now),
        account_id=account_id,
        kind=kind,
        country=country,
        legal_name=values["legal_name"],
        registration_number=values.get("registration_number"),
        currency=currency,
        destination=destination,
        created_at=now,
    )
    session.add(payee)
    # Where the money goes is not for the log: who changed it, and that it changed, is.
    audit(session, actor, "payee.set", account_id, {"payee": payee.id, "kind": kind, "currency": currency}, now)
    await session.flush()
    return payee


def _check_number(country: str, number: str) -> None:
    try:
        check_number(country, number)
    except WrongRegistrationNumber as error:
        raise ValueError(f"registration_number: {error}") from None


async def place_hold(session: AsyncSession, account_id: str, reason: str, actor: str, now: datetime) -> PayoutHold:
    """Stop an account's payouts until the hold is released; its shares go on."""
    await get(session, account_id)
    hold = PayoutHold(id=new_id("hld", now), account_id=account_id, reason=_reason(reason), placed_at=now)
    session.add(hold)
    audit(session, actor, "payout.hold", account_id, {"hold": hold.id, "reason": reason}, now)
    await session.flush()
    return hold


async def release_hold(session: AsyncSession, hold_id: str, reason: str, actor: str, now: datetime) -> PayoutHold:
    """Let an account's payouts go on; what was due meanwhile is paid by the next run."""
    query = select(PayoutHold).where(col(PayoutHold.id) == hold_id).with_for_update()
    hold = (await session.execute(query)).scalar_one_or_none()
    if hold is None or hold.released_at is not None:
        raise HoldNotFound(hold_id)
    hold.released_at, hold.release_reason = now, _reason(reason)
    audit(session, actor, "payout.release", hold.account_id, {"hold": hold_id, "reason": reason}, now)
    await session.flush()
    return hold


async def pay_until(
    session: AsyncSession, month: Month, actor: str, now: datetime
) -> tuple[list[Payout], list[LeftOut]]:
    """Make a payout of every statement up to a month of which something is due; says which were left out, and why.

    Repeating it pays nothing twice: statements are locked, and what was paid is no longer due.
    """
    known, held = await payees(session), {row.account_id: row for row in await holds(session, standing=True)}
    made: list[Payout] = []
    left: list[LeftOut] = []
    for statement, usd in await due_until(session, str(month)):
        payee, hold = known.get(statement.account_id), held.get(statement.account_id)
        if hold is not None:
            left.append(LeftOut(statement.account_id, statement.month, usd, "held", hold.reason))
        elif payee is None:
            left.append(LeftOut(statement.account_id, statement.month, usd, "no_payee", "nobody to pay is known"))
        else:
            try:
                payout = await _payout(session, statement.month, payee, usd, now)
            except (NoPaperRule, RateMissing) as error:
                why = "no_paper_rule" if isinstance(error, NoPaperRule) else "no_fx_rate"
                left.append(LeftOut(statement.account_id, statement.month, usd, why, str(error)))
                continue
            session.add(payout)
            made.append(payout)
    for payout in made:
        change = {"payout": payout.id, "month": payout.month, "usd": str(payout.usd), "payable": str(payout.payable)}
        audit(session, actor, "payout.make", payout.account_id, change, now)
    await session.flush()
    return made, left


async def reverse(session: AsyncSession, payout_id: str, reason: str, actor: str, now: datetime) -> Payout:
    """Undo a payout that came back, by a linked one with the other sign: what it paid is due again."""
    query = select(Payout).where(col(Payout.id) == payout_id).with_for_update()
    payout = (await session.execute(query)).scalar_one_or_none()
    if payout is None:
        raise PayoutNotFound(payout_id)
    undone = await session.execute(select(Payout.id).where(col(Payout.reverses) == payout_id))
    if payout.reverses is not None or undone.first() is not None:
        raise AlreadyReversed(payout_id)
    negative: dict[str, Any] = {
        name: subtract(ZERO, getattr(payout, name)) for name in ("usd", "amount", "vat", "withheld", "payable")
    }
    kept = ("account_id", "month", "payee_id", "currency", "fx_rate", "fx_day", "tax_paper")
    reversal = Payout(
        id=new_id("pay", now),
        **{name: getattr(payout, name) for name in kept},
        **negative,
        withholding=[{**tax, "amount": f"-{tax['amount']}"} for tax in payout.withholding],
        reverses=payout.id,
        reason=_reason(reason),
        made_at=now,
    )
    session.add(reversal)
    audit(session, actor, "payout.reverse", payout.account_id, {"payout": payout.id, "reason": reason}, now)
    await session.flush()
    return reversal


async def _payout(session: AsyncSession, month: str, payee: Payee, usd: Decimal, now: datetime) -> Payout:
    rate, day = None, now.astimezone(zone_of(HOUSE_ZONE)).date()
    if payee.currency != BASE_CURRENCY:
        rate = await newest(session, f"{BASE_CURRENCY}/{payee.currency}", day)
    reckoned = reckon(usd, payee.kind, payee.country, payee.currency, rate.rate if rate else None, day)
    return Payout(
        id=new_id("pay", now),
        account_id=payee.account_id,
        month=month,
        payee_id=payee.id,
        usd=usd,
        currency=payee.currency,
        fx_rate=rate.rate if rate else None,
        fx_day=rate.day if rate else None,
        amount=reckoned.amount,
        vat=reckoned.vat,
        withheld=add(each.amount for each in reckoned.withheld),
        payable=reckoned.payable,
        tax_paper=reckoned.tax_paper,
        withholding=_to_wire_withholding(reckoned),
        made_at=now,
    )


def _to_wire_withholding(reckoned: Reckoned) -> list[dict[str, Any]]:
    return [
        {"name": each.name, "ratio": to_wire_decimal(each.ratio), "amount": to_wire_decimal(each.amount)}
        for each in reckoned.withheld
    ]


def _reason(reason: str) -> str:
    if not reason.strip() or len(reason) > REASON_MAX:
        raise ValueError(f"reason: say why, in at most {REASON_MAX} characters")
    return reason


async def erase_payees(session: AsyncSession, account_id: str, kept_from: datetime) -> datetime | None:
    """Take away whom an account was paid to, but for those to whom something was paid since `kept_from`: when they last were."""
    last_paid = select(func.max(Payout.made_at)).where(col(Payout.payee_id) == Payee.id).scalar_subquery()
    await session.execute(
        update(Payee)
        .where(col(Payee.account_id) == account_id, or_(last_paid.is_(None), last_paid < kept_from))
        .values(legal_name=ERASED, registration_number=None, destination={})
    )
    newest = select(func.max(Payout.made_at)).where(
        col(Payout.account_id) == account_id, col(Payout.made_at) >= kept_from
    )
    return (await session.execute(newest)).scalar_one()
