"""A close that is killed with SIGKILL, again and again, ends as one that was left alone."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process

import pytest

from billing.database import Sessions
from billing.invoice.read import invoices_of
from billing.share.read import shares_of
from gateway.sandbox.stores import Stores
from tests.billing.months import CLOSING, account, book, call, close, contribute, plan

PAYERS = 12
WAIT_S = 120


async def start(stores: Stores) -> Process:
    words = ("-m", "tests.billing.closer", stores.database_url, "2026-10", CLOSING.isoformat())
    return await asyncio.create_subprocess_exec(sys.executable, *words, stdout=PIPE)


async def killed_after(process: Process, steps: int) -> int | None:
    """Kill it once it has told so many steps; its exit code where it ended before."""
    assert process.stdout is not None
    for _ in range(steps):
        if not await asyncio.wait_for(process.stdout.readline(), WAIT_S):
            return await process.wait()
    process.kill()
    await process.wait()
    return None


@pytest.mark.parametrize("seed", range(2))
async def test_a_close_killed_at_random_steps_ends_the_same(sessions: Sessions, stores: Stores, seed: int) -> None:
    rng = random.Random(seed)
    payers = sorted([await account(sessions) for _ in range(PAYERS)])
    partner = await account(sessions)
    await contribute(sessions, partner, 1_000)
    await plan(sessions, "0.20")
    await book(sessions, *(call(payer, (1_000_000, 0, 1_000_000, 0, 0)) for payer in payers))
    for _ in range(3):
        if await killed_after(await start(stores), rng.randint(1, 6)) is not None:
            break
    closed = await close(sessions)
    assert [invoice.account_id for invoice in closed.invoices] == payers
    assert sorted(str(i.number) for i in closed.invoices) == [f"2026-{n:06d}" for n in range(1, PAYERS + 1)]
    assert [str(share.amount) for share in closed.shares] == ["3.60"]
    async with sessions() as session:
        assert len(await invoices_of(session, "2026-10")) == PAYERS
        assert len(await shares_of(session, "2026-10")) == 1
    assert await close(sessions) == closed
