"""A fake Stripe and the outbox before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from billing.database import Sessions
from tests.billing.collect.stage import Stage
from tests.fakes.stripe import FakeStripe


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe.running() as running:
        yield running


@pytest.fixture
async def stage(sessions: Sessions, fake: FakeStripe) -> AsyncIterator[Stage]:
    opened = Stage(sessions, fake)
    yield opened
    await opened.stripe.close()
