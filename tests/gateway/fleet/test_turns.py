"""Who waits while keys go out and come back: nobody is forgotten, woken late, or told of a quota where there is an outage."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.errors import UpstreamUnavailable
from gateway.fleet.errand import Errand
from gateway.fleet.fleet import Fleet
from gateway.fleet.member import Seat
from gateway.fleet.quota import from_wire_limits
from gateway.fleet.turns import QueueRules
from gateway.roster.keys import read_roster
from tests.gateway.fleet.test_fleet import LIMITS, RULES, Clock, a_fleet, an_errand, out_of_quota, served, taken

WAIT_S = 20
"""Of the test itself, on a busy machine; what it waits for takes none of it."""


def waiting(fleet: Fleet, errand: Errand | None = None) -> asyncio.Future[Seat]:
    return asyncio.ensure_future(fleet.turns.wait(errand or an_errand()))


async def test_who_comes_while_others_leave_with_their_seats_is_not_forgotten() -> None:
    fleet, clock = a_fleet("a=up_a")
    out_of_quota(fleet, 1.0)

    async def one_and_another() -> Seat:
        """Its first call finds the quota closed again, and its next waits in turn, while the other caller has not left yet."""
        seat = await fleet.turns.wait(an_errand("one"))
        seat.out_of_quota(LIMITS, 1.0)
        return await fleet.turns.wait(an_errand("one"))

    again, other = asyncio.ensure_future(one_and_another()), asyncio.ensure_future(fleet.turns.wait(an_errand("other")))
    await asyncio.sleep(0)
    clock.now_s += 1.1
    fleet.turns.pump("solar")
    served(await other)
    assert (again.done(), fleet.turns.waiting_count) == (False, 1)
    clock.now_s += 1.1
    fleet.turns.pump("solar")
    served(await asyncio.wait_for(again, WAIT_S))
    assert not fleet.turns.queues


async def test_as_soon_as_a_key_is_back_those_who_waited_for_that_have_their_seats() -> None:
    rules = replace(RULES, probe_patience_s=1000.0)
    fleet = Fleet(read_roster("a=up_a", "http://upstream/v1"), rules, QueueRules(wait_max_s=2000.0), now=Clock())
    taken(fleet).refused("403")
    probe = taken(fleet)
    calls = [waiting(fleet) for _ in range(3)]
    await asyncio.sleep(0)
    assert fleet.turns.waiting_count == 3
    served(probe)
    for seat in await asyncio.wait_for(asyncio.gather(*calls), WAIT_S):
        served(seat)


async def test_who_waited_in_vain_for_keys_that_are_out_is_told_of_an_outage_and_not_of_a_quota() -> None:
    fleet, _ = a_fleet("a=up_a", QueueRules(wait_max_s=0.05, account_max=2))
    taken(fleet).refused("403")
    fleet.members[0].breaker.probing(fleet.now() - RULES.probe_patience_s + 0.02)
    for told in await asyncio.gather(*[waiting(fleet) for _ in range(3)], return_exceptions=True):
        assert isinstance(told, UpstreamUnavailable)
        assert told.status == 503
    assert fleet.turns.refused_total == 0
    assert not fleet.turns.queues


async def test_while_the_quota_of_one_key_is_closed_another_that_is_out_is_tried_when_its_pause_is_over() -> None:
    fleet, clock = a_fleet()
    a, b = fleet.members
    b.breaker.refused(clock.now_s, "403")
    b.healthy = False
    fleet.changed(b)
    out_of_quota(fleet, 100.0)
    a.quota("solar").probing(clock.now_s)
    due_at_s = b.breaker.due_at()
    assert fleet.opens_at(an_errand()) == due_at_s > clock.now_s, "looking sooner would be in vain"
    assert fleet.choose(an_errand()) is None
    clock.now_s = due_at_s
    assert taken(fleet).member is b


def test_of_a_shown_limit_a_worker_takes_its_part() -> None:
    alone, shared = a_fleet()[0], a_fleet()[0]
    shared.sharers = lambda: 5
    for fleet, firsts in ((alone, 10), (shared, 2)):
        a = fleet.members[0]
        a.quota("solar").learn(fleet.now(), from_wire_limits(LIMITS))
        names = [taken(fleet).key_name for _ in range(20)]
        assert names.count("a") == firsts, "then the other one goes first, whose limit nobody knows"
        assert fleet.per_second("solar") == firsts / 10


async def test_a_call_that_is_cancelled_as_it_is_told_of_an_outage_stays_cancelled() -> None:
    fleet, _ = a_fleet("a=up_a")
    taken(fleet).refused("401")
    taken(fleet)
    task = waiting(fleet)
    await asyncio.sleep(0)
    fleet.turns.refuse_all()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
