"""The fleet's choice and its turns, on a clock of the test: weights, health, probes, waiting, and the words of its refusals."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest

from gateway.errors import RateLimited, UpstreamUnavailable
from gateway.fleet.breaker import BreakerRules, Health
from gateway.fleet.errand import Errand
from gateway.fleet.fleet import Fleet
from gateway.fleet.member import Seat
from gateway.fleet.turns import QueueRules
from gateway.roster.keys import read_roster

RULES = BreakerRules(failures_max=3, pause_s=1.0, pause_max_s=8.0, refused_pause_s=30.0, refused_pause_max_s=60.0)
LIMITS = {"x-upstage-ratelimit-limit-requests": "10", "x-upstage-ratelimit-interval-requests": "10"}


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def a_fleet(keys: str = "a=up_a,b=up_b", queue: QueueRules | None = None) -> tuple[Fleet, Clock]:
    clock = Clock()
    return Fleet(read_roster(keys, "http://upstream/v1"), RULES, queue or QueueRules(), now=clock), clock


def an_errand(account: str = "acc") -> Errand:
    return Errand(account, "solar", 100)


def taken(fleet: Fleet, errand: Errand | None = None) -> Seat:
    seat = fleet.seat(errand or an_errand())
    assert seat is not None
    return seat


def name_of(seat: Seat) -> str:
    return seat.member.key.name


def served(seat: Seat) -> None:
    seat.served(httpx.Headers)


def test_calls_are_shared_by_weight_and_evenly_mixed() -> None:
    fleet, _ = a_fleet("a*3=up_a,b=up_b")
    names = []
    for _ in range(40):
        seat = taken(fleet)
        names.append(name_of(seat))
        served(seat)
    assert Counter(names) == {"a": 30, "b": 10}
    assert all(names[place : place + 4].count("b") == 1 for place in range(0, 40, 4))


def test_a_key_with_room_by_its_shown_limit_goes_first_and_none_is_refused_for_it() -> None:
    fleet, _ = a_fleet()
    names = []
    for number in range(40):
        seat = taken(fleet)
        names.append(name_of(seat))
        shown = httpx.Headers({**LIMITS, "x-upstage-ratelimit-limit-requests": "10" if number == 0 else "30"})
        seat.served(lambda shown=shown: shown)  # type: ignore[misc]
    assert len(names) == 40
    assert Counter(names)["b"] > Counter(names)["a"]


def test_failures_in_a_row_take_a_key_out_and_one_call_at_a_time_sees_whether_it_is_back() -> None:
    fleet, clock = a_fleet()
    changes: list[tuple[str, Health]] = []
    fleet.on_change = lambda member: changes.append((member.key.name, member.breaker.health))
    a, _ = fleet.members
    while a.healthy:
        seat = taken(fleet)
        if name_of(seat) == "a":
            seat.failed("broken", "answers 503")
        else:
            served(seat)
    assert changes == [("a", Health.FAILING)]
    assert {name_of(taken(fleet)) for _ in range(5)} == {"b"}
    clock.now_s += 1.1
    probe = taken(fleet)
    assert name_of(probe) == "a"
    assert {name_of(taken(fleet)) for _ in range(5)} == {"b"}, "one at a time"
    probe.failed("broken", "answers 503")
    clock.now_s += 0.9
    assert name_of(taken(fleet)) == "b", "the pause has doubled"
    clock.now_s += 1.2
    probe = taken(fleet)
    assert name_of(probe) == "a"
    served(probe)
    assert changes == [("a", Health.FAILING), ("a", Health.HEALTHY)]
    assert {name_of(taken(fleet)) for _ in range(4)} == {"a", "b"}


def test_a_refused_key_is_out_at_once_and_tried_less_often() -> None:
    fleet, clock = a_fleet()
    seat = taken(fleet)
    seat.refused("401 invalid_api_key")
    assert seat.member.breaker.health is Health.REFUSED
    other = name_of(taken(fleet))
    clock.now_s += 14.0
    assert {name_of(taken(fleet)) for _ in range(4)} == {other}
    clock.now_s += 17.0
    assert name_of(taken(fleet)) != other


def test_the_only_key_is_tried_by_one_call_at_a_time_while_it_is_out_and_the_rest_wait_for_what_it_finds() -> None:
    fleet, clock = a_fleet("a=up_a")
    taken(fleet).refused("403")
    probe = taken(fleet)
    assert fleet.seat(an_errand()) is None
    assert fleet.opens_at(an_errand()) == clock.now_s + RULES.probe_patience_s
    served(probe)
    assert fleet.seat(an_errand()) is not None


def out_of_quota(fleet: Fleet, wait_s: float) -> None:
    for _ in range(2 * len(fleet.members)):
        seat = fleet.choose(an_errand())
        if seat is not None:
            seat.out_of_quota(LIMITS, wait_s)


async def test_who_waits_gets_a_seat_when_the_quota_opens_and_in_fair_order() -> None:
    fleet, clock = a_fleet("a=up_a")
    out_of_quota(fleet, 2.0)
    order: list[str] = []

    async def call(account: str) -> None:
        errand = an_errand(account)
        seat = await fleet.turns.wait(errand)
        order.append(account)
        served(seat)

    calls = [asyncio.ensure_future(call("hog")) for _ in range(6)]
    await asyncio.sleep(0)
    calls += [asyncio.ensure_future(call("small"))]
    await asyncio.sleep(0)
    assert (fleet.turns.waiting_count, order) == (7, [])
    assert fleet.seat(an_errand("new")) is None, "nobody overtakes"
    clock.now_s += 2.1
    fleet.turns.pump("solar")
    await asyncio.gather(*calls)
    assert "small" in order[:2]
    assert (fleet.turns.waiting_count, fleet.turns.has_any) == (0, False)


async def test_a_wait_that_would_be_too_long_is_refused_at_once_with_the_truth() -> None:
    fleet, _ = a_fleet("a=up_a")
    out_of_quota(fleet, 40.0)
    probe = await fleet.turns.wait(an_errand())
    probe.out_of_quota(LIMITS, 40.0)
    fleet.members[0].quota("solar").probing(fleet.now() + 30)
    with pytest.raises(RateLimited) as told:
        await fleet.turns.wait(an_errand())
    assert told.value.headers == {"retry-after": "40", "retry-after-ms": "40000"}


async def test_beyond_its_bound_the_queue_says_when_this_accounts_turn_would_come() -> None:
    fleet, _ = a_fleet("a=up_a", QueueRules(wait_max_s=5.0, waiting_max=100, account_max=20))
    out_of_quota(fleet, 3.0)
    waiting = [asyncio.ensure_future(fleet.turns.wait(an_errand("hog"))) for _ in range(20)]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited) as told:
        await fleet.turns.wait(an_errand("hog"))
    assert told.value.retry_after_ms == 20_000, "20 calls ahead of it, at 10 in 10 s"
    others = asyncio.ensure_future(fleet.turns.wait(an_errand("other")))
    await asyncio.sleep(0)
    assert not others.done()
    for task in (*waiting, others):
        task.cancel()
    await asyncio.gather(*waiting, others, return_exceptions=True)
    assert not fleet.turns.has_any


async def test_a_call_that_is_cancelled_as_it_gets_its_seat_gives_it_back() -> None:
    fleet, clock = a_fleet("a=up_a")
    out_of_quota(fleet, 1.0)
    task = asyncio.ensure_future(fleet.turns.wait(an_errand()))
    await asyncio.sleep(0)
    clock.now_s += 1.1
    fleet.turns.pump("solar")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fleet.members[0].quota("solar").in_flight == 0


async def test_when_a_call_finds_that_no_key_is_left_those_who_waited_are_told_the_same() -> None:
    fleet, _ = a_fleet("a=up_a")
    taken(fleet).refused("401")
    taken(fleet)
    waiting = asyncio.ensure_future(fleet.turns.wait(an_errand()))
    await asyncio.sleep(0)
    fleet.turns.refuse_all()
    with pytest.raises(UpstreamUnavailable) as told:
        await waiting
    assert told.value.status == 503
