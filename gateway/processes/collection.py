"""Stripe's jobs of a house: the outbox where there is a key, the inbox where there is a webhook secret; and a line in the log where not.

Both go by the world's clock, which is Stripe's, also where a sandbox's own clock is set; only usage is told by the house's.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from billing.collect.send import Sender
from billing.jobs import Inbox, Outbox, Pace
from gateway.app import House, open_stripe
from gateway.metrics import STRIPE_TASKS
from gateway.settings import Settings

log = structlog.get_logger("stripe")


async def collect(house: House, stopping: asyncio.Event) -> None:
    """Run what of Stripe is set up, until told to stop."""
    settings = house.settings
    if settings.stripe_api_key is None:
        log.info("stripe_off", why="STRIPE_API_KEY is not set: nothing is sent to Stripe, everything else works")
    if settings.stripe_webhook_secret is None:
        log.info("stripe_webhooks_off", why="STRIPE_WEBHOOK_SECRET is not set: deliveries of Stripe are refused")
    await asyncio.gather(_send(house, settings, stopping), _receive(house, settings, stopping))


async def _send(house: House, settings: Settings, stopping: asyncio.Event) -> None:
    if settings.stripe_api_key is None:
        return
    stripe = open_stripe(settings, settings.stripe_api_key)
    sender = Sender(
        stripe,
        house.sessions,
        _world_now,
        days_until_due=settings.stripe_days_until_due,
        return_url=settings.stripe_return_url,
        meter_event_name=settings.stripe_meter_event,
    )
    pace = Pace(
        every_ms=settings.stripe_every_ms,
        meter_every_s=settings.stripe_meter_every_s,
        refusals_max=settings.stripe_refusals_max,
        from_month=settings.stripe_from_month,
        minima={"USD": settings.collection_minimum_usd, "KRW": settings.collection_minimum_krw},
    )
    try:
        await Outbox(house.sessions, sender, _world_now, house.clock.now, _count_task, pace).run(stopping)
    finally:
        await stripe.close()


async def _receive(house: House, settings: Settings, stopping: asyncio.Event) -> None:
    grace = timedelta(days=settings.stripe_grace_days)
    await Inbox(house.sessions, _world_now, house.admission.outdate, _count_event, grace=grace).run(stopping)


def _world_now() -> datetime:
    return datetime.now(UTC)


def _count_task(ended: str, kind: str) -> None:
    STRIPE_TASKS.labels(ended, kind).inc()


def _count_event(_: str, __: str) -> None:
    """Deliveries are counted where they arrive."""
