"""Stripe: the door for its deliveries, and what operators see and do.

A delivery is proved on the bytes as they came, stored, and answered; a job works it off. What is not proved is refused and counted.
Errors: `NotFound` (not set up), `InvalidRequest` (invalid_signature), `RequestTooLarge`, `Conflict` (stripe_off), `GatewayError`
(stripe_unavailable).
"""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from litestar import Request, get, post
from msgspec import Struct

from billing.accounts import store as accounts
from billing.agreement.months import agree_with_stripe
from billing.collect import inbox_store, store, top_up_store
from billing.collect.tables import TopUp
from billing.money import to_wire_decimal
from billing.stripe_client import ForgedWebhook, StripeFault, check_webhook
from gateway.edge.desk import LIST_MAX, Desk
from gateway.edge.finance import month_of
from gateway.edge.shapes import Text
from gateway.edge.wire import from_wire_amount, to_wire_instant
from gateway.errors import Conflict, GatewayError, InvalidRequest, NotFound, RequestTooLarge
from gateway.metrics import STRIPE_EVENTS

log = structlog.get_logger("stripe")
_SHOWN_MAX = 100


class NewTopUp(Struct, forbid_unknown_fields=True):
    """How much is to be paid in, in the account's currency."""

    amount: Text


class NewRefund(Struct, forbid_unknown_fields=True):
    """How much of a top-up is given back, and why."""

    amount: Text
    reason: Text


@post("/webhooks/stripe", status_code=200, tags=["stripe"], include_in_schema=False)
async def stripe_webhook(request: Request[Any, Any, Any], desk: Desk) -> dict[str, Any]:
    """A delivery of Stripe's: proved, stored once, answered at once."""
    terms = desk.stripe
    if not terms.webhook_secret:
        raise NotFound("Stripe's deliveries are not taken here: STRIPE_WEBHOOK_SECRET is not set.")
    body = await request.body()
    if len(body) > terms.webhook_max_bytes:
        STRIPE_EVENTS.labels("too_large").inc()
        raise RequestTooLarge(terms.webhook_max_bytes)
    try:
        header = request.headers.get("stripe-signature")
        check_webhook(body, header, terms.webhook_secret, now_s=int(time.time()), age_max_s=terms.webhook_age_s)
        event = msgspec.json.decode(body)
        async with desk.sessions.begin() as session:
            is_new = await inbox_store.keep(session, event, _world_now())
    except ForgedWebhook as error:
        STRIPE_EVENTS.labels(error.why).inc()
        log.warning("stripe_forged", why=error.why)
        raise _refused("invalid_signature") from None
    except ValueError:
        STRIPE_EVENTS.labels("unreadable").inc()
        raise _refused("invalid_event") from None
    STRIPE_EVENTS.labels("accepted" if is_new else "repeated").inc()
    return {"received": True}


def _world_now() -> datetime:
    """The clock of Stripe, and of all that waits to be sent there or worked off."""
    return datetime.now(UTC)


def _refused(code: str) -> InvalidRequest:
    """Nothing of why is told to whom may be a forger."""
    refused = InvalidRequest("This is not a delivery of Stripe's.")
    refused.code = code
    return refused


@get("/stripe", tags=["stripe"])
async def stripe_state(desk: Desk) -> dict[str, Any]:
    """Is Stripe set up, what waits to be sent or worked off, and what an operator has to look at."""
    async with desk.sessions() as session:
        outbox = await store.waiting(session)
        stuck = await store.given_up(session, _SHOWN_MAX)
        inbox = await inbox_store.waiting(session)
    return {
        "enabled": desk.stripe.is_on,
        "why": None if desk.stripe.is_on else "STRIPE_API_KEY is not set: nothing is sent to Stripe",
        "webhooks": bool(desk.stripe.webhook_secret),
        "outbox": [
            {"kind": one.kind, "waiting": one.waiting, "given_up": one.given_up, "done": one.done} for one in outbox
        ],
        "inbox_waiting": inbox,
        "given_up": [
            {"kind": task.kind, "id": task.subject_id, "account_id": task.account_id, "why": task.fault}
            for task in stuck
        ],
    }


@get("/stripe/reconciliation", tags=["stripe"])
async def stripe_reconciliation(month: str, desk: Desk) -> dict[str, Any]:
    """A month at Stripe against ours, per customer: invoices, lines, totals, credits, states, usage, payouts. Nothing found: they agree."""
    of = month_of(month)
    if desk.stripe.open is None:
        raise Conflict("stripe_off", "STRIPE_API_KEY is not set: there is nothing to compare.")
    stripe = desk.stripe.open()
    try:
        agreed = await agree_with_stripe(stripe, desk.sessions, of, desk.stripe.meter_event)
    except StripeFault as error:
        log.warning("stripe_reconciliation", why=str(error))
        unavailable = GatewayError("Stripe did not answer, or not with what was asked for. Nothing was changed.")
        unavailable.status, unavailable.code = 503, "stripe_unavailable"
        raise unavailable from None
    finally:
        await stripe.close()
    return {
        "month": agreed.month,
        "clean": not agreed.findings,
        "customers": agreed.customers,
        "invoices": agreed.invoices,
        "minor_units": dict(agreed.total),
        "findings": [asdict(one) for one in agreed.findings],
    }


@post("/stripe/retry", tags=["stripe"], status_code=200)
async def stripe_retry(desk: Desk) -> dict[str, Any]:
    """Try once more what Stripe refused so often that it was given up."""
    async with desk.sessions.begin() as session:
        await inbox_store.look_again(session, _world_now())
        again = await store.try_again(session, _world_now())
        accounts.audit(session, desk.actor, "stripe.retry", "stripe", {"tasks": again}, desk.now())
    return {"tasks": again}


@post("/accounts/{account_id:str}/top-ups", tags=["stripe"])
async def add_top_up(account_id: str, data: NewTopUp, desk: Desk) -> dict[str, Any]:
    """Ask a prepaid account to pay in. `url` is where the customer pays; null until Stripe has made it (a moment: ask again)."""
    if not desk.stripe.is_on:
        raise Conflict("stripe_off", "STRIPE_API_KEY is not set: nobody can pay here.")
    amount = from_wire_amount(data.amount, "amount")
    try:
        async with desk.sessions.begin() as session:
            top_up = await top_up_store.ask(session, account_id, amount, desk.actor, desk.now(), _world_now())
    except top_up_store.TopUpRefused as error:
        raise InvalidRequest(f"{error}.", param=str(error).partition(":")[0]) from None
    return _to_wire_top_up(top_up, None)


@get("/accounts/{account_id:str}/top-ups", tags=["stripe"])
async def top_ups(account_id: str, desk: Desk, limit: int = 100) -> dict[str, Any]:
    """An account's top-ups, newest first."""
    async with desk.sessions() as session:
        await accounts.get(session, account_id)
        found = await top_up_store.of_account(session, account_id, max(1, min(limit, LIST_MAX)))
        tasks = await store.tasks_of(session, "top_up", [one.id for one in found])
    urls = {name: task.steps.get("top_up", {}).get("url") for name, task in tasks.items()}
    return {"data": [_to_wire_top_up(one, urls.get(one.id)) for one in found], "next": None}


@post("/top-ups/{top_up_id:str}/refund", tags=["stripe"])
async def refund(top_up_id: str, data: NewRefund, desk: Desk) -> dict[str, Any]:
    """Give a part of a paid top-up back: the balance is lessened now, the money goes back by Stripe."""
    amount = from_wire_amount(data.amount, "amount")
    try:
        async with desk.sessions.begin() as session:
            made, account_id, epoch = await top_up_store.give_back(
                session, top_up_id, amount, data.reason, desk.actor, desk.now(), _world_now()
            )
    except top_up_store.TopUpRefused as error:
        raise InvalidRequest(f"{error}.", param=str(error).partition(":")[0]) from None
    except top_up_store.TopUpNotFound as error:
        raise NotFound(f"{error}.") from None
    await desk.admission.outdate(account_id, epoch)
    return {"id": made.id, "top_up_id": top_up_id, "amount": to_wire_decimal(made.amount), "reason": made.reason}


def _to_wire_top_up(top_up: TopUp, url: str | None) -> dict[str, Any]:
    return {
        "id": top_up.id,
        "account_id": top_up.account_id,
        "amount": to_wire_decimal(top_up.amount),
        "currency": top_up.currency,
        "status": top_up.status,
        "url": url if top_up.status == "pending" else None,
        "created_at": to_wire_instant(top_up.created_at),
        "paid_at": to_wire_instant(top_up.paid_at),
    }


STRIPE: list[Any] = [stripe_state, stripe_reconciliation, stripe_retry, add_top_up, top_ups, refund]
