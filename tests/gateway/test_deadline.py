"""One timer keeps all deadlines: who is late is cancelled at its time, who ended is left alone, other cancellations stay what they are."""

from __future__ import annotations

import asyncio

import pytest

from gateway.clock import Deadlines


async def carried(deadlines: Deadlines, seconds: float) -> str:
    """How a call ends that takes so long."""
    task = deadlines.begin()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if not deadlines.end(task):
            raise
        await asyncio.sleep(0)  # the cancellation has been taken: what comes next is not cancelled again
        return "late"
    finally:
        deadlines.end(task)
    return "in time"


async def test_each_call_is_cancelled_at_its_own_time_and_those_in_time_are_not() -> None:
    deadlines, loop = Deadlines(0.3), asyncio.get_running_loop()
    begun_s = loop.time()
    first = asyncio.ensure_future(carried(deadlines, 30))
    quick = [asyncio.ensure_future(carried(deadlines, 0)) for _ in range(100)]
    await asyncio.sleep(0.2)
    second = asyncio.ensure_future(carried(deadlines, 30))
    assert await asyncio.gather(*quick) == ["in time"] * 100
    assert await first == "late"
    between_s = loop.time() - begun_s
    assert await second == "late"
    assert 0.29 <= between_s < loop.time() - begun_s
    assert loop.time() - begun_s >= 0.49


async def test_a_cancellation_from_elsewhere_is_not_taken_for_a_deadline() -> None:
    deadlines = Deadlines(30)
    call = asyncio.ensure_future(carried(deadlines, 30))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_deadline_that_passes_while_a_call_ends_cancels_nothing_that_comes_after() -> None:
    deadlines = Deadlines(0.01)
    task = deadlines.begin()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(30)
    assert deadlines.end(task)
    assert not deadlines.end(task)
    assert not task.cancelling()
