"""What Stripe was last told of a customer, against what the account says now. In Postgres.

A customer's newest task keeps what was decided for it (`of`: the account as it was). Where the account says something else by now, and
nothing is on its way, a change is put into the outbox: so at most one is, and the last one told is the last one made. What was given up
is followed by a new one as soon as the account changes again. Errors: what SQLAlchemy raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, func, literal, or_
from sqlalchemy.dialects.postgresql import JSONB, distinct_on, insert
from sqlmodel import col, select

from billing.accounts.tables import Account
from billing.collect.tables import StripeTask
from billing.database import DOCUMENT, INSTANT, Session

KINDS = ("customer", "customer_change")


def to_row_customer(account: Account) -> Mapping[str, Any]:
    """What of an account a customer at Stripe shows; the same as `_shown` reads from the table."""
    return {
        "name": account.name,
        "country": account.tax_country,
        "number": account.tax_registration_number,
        "details": account.tax_details,
    }


def _shown() -> Any:
    return func.jsonb_build_object(
        *("name", col(Account.name), "country", col(Account.tax_country)),
        *("number", col(Account.tax_registration_number), "details", cast(col(Account.tax_details), JSONB)),
    )


def _newest() -> Any:
    """The newest task of each customer: how it stands, and the account that was decided for."""
    steps = cast(col(StripeTask.steps), JSONB)
    decided = func.coalesce(steps["customer_change"]["decided"]["of"], steps["customer"]["decided"]["of"])
    newest = select(
        StripeTask.account_id,
        decided.label("told"),
        or_(col(StripeTask.done_at).is_not(None), col(StripeTask.given_up_at).is_not(None)).label("is_ended"),
    ).ext(distinct_on(col(StripeTask.account_id)))
    return (
        newest.where(col(StripeTask.kind).in_(KINDS))
        .order_by(col(StripeTask.account_id), col(StripeTask.created_at).desc(), col(StripeTask.subject_id).desc())
        .subquery()
    )


async def enqueue_changes(session: Session, now: datetime, account_id: str | None = None) -> int:
    """Put into the outbox what changed of customers that Stripe knows; of one account or of all. Returns how much that is."""
    newest = _newest()
    columns = ["kind", "subject_id", "account_id", "created_at", "next_attempt_at", "steps"]
    at = literal(now, INSTANT)
    row: list[Any] = [
        literal("customer_change"),
        col(Account.id) + ":" + cast(col(Account.epoch), Text),
        col(Account.id),
        *(at, at, literal({}, DOCUMENT)),
    ]
    changed = (
        select(*row)
        .join(newest, newest.c.account_id == col(Account.id))
        .where(newest.c.is_ended, newest.c.told.is_not(None), newest.c.told != _shown())
    )
    if account_id is not None:
        changed = changed.where(col(Account.id) == account_id)
    once = insert(StripeTask).from_select(columns, changed).on_conflict_do_nothing()
    return len((await session.execute(once.returning(col(StripeTask.subject_id)))).all())


async def is_on_its_way(session: Session, account_id: str) -> bool:
    """Is something of a customer still to be told, that was not given up?"""
    query = select(StripeTask.kind).where(
        col(StripeTask.account_id) == account_id,
        col(StripeTask.kind).in_(KINDS),
        col(StripeTask.done_at).is_(None),
        col(StripeTask.given_up_at).is_(None),
    )
    return (await session.execute(query)).first() is not None
