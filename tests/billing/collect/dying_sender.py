"""An outbox in a process of its own that kills itself, -9, between an answer of Stripe's and the note of it, as its dice say.

`python -m tests.billing.collect.dying_sender <database> <stripe> <seed> <chance of death in percent>`: sends what is due until nothing is.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlmodel import col, func, select

from billing.collect.send import Sender
from billing.collect.steps import Steps
from billing.collect.tables import StripeTask
from billing.database import open_engine, sessions_of
from billing.jobs import Outbox, Pace
from billing.stripe_client import Stripe
from tests.billing.collect.stage import METER
from tests.fakes.stripe import API_KEY


async def main(url: str, stripe_url: str, seed: str, percent: str) -> None:
    dice, remember = random.Random(int(seed)), Steps._end

    async def die_or_remember(steps: Steps, name: str, mark: Mapping[str, Any], made: dict[str, Any]) -> str:
        if dice.random() * 100 < int(percent):
            os.kill(os.getpid(), signal.SIGKILL)
        return await remember(steps, name, mark, made)

    Steps._end = die_or_remember  # type: ignore[method-assign, assignment]
    engine = open_engine(url, connections_max=4)
    sessions = sessions_of(engine)
    stripe = Stripe(API_KEY, base_url=stripe_url, timeout_ms=5000, attempts=2, pause_max_s=0)

    def later() -> datetime:
        return datetime.now(UTC)

    sender = Sender(
        stripe, sessions, later, days_until_due=30, return_url="https://example.com", meter_event_name=METER
    )
    outbox = Outbox(sessions, sender, later, later, lambda *_: None, Pace(find_every_s=0))
    async with sessions.begin() as session:  # whoever held these is dead
        await session.execute(_unclaim())
    waits = True
    while waits:
        await outbox.find()
        await outbox.send_due()
        async with sessions() as session:
            due = (await session.execute(select(func.count(col(StripeTask.next_attempt_at))))).scalar_one()
        waits = due > 0
    await stripe.close()
    await engine.dispose()


def _unclaim() -> Any:
    return (
        StripeTask.__table__.update()  # type: ignore[attr-defined]
        .where(col(StripeTask.next_attempt_at).is_not(None))
        .values(next_attempt_at=datetime.now(UTC))
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
