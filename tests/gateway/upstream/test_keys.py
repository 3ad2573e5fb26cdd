"""Several keys of a simulated Solar with quotas and faults by key: no call fails while one key is well, and all get their share."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from gateway.errors import RateLimited, UpstreamUnavailable
from gateway.fleet.breaker import BreakerRules, Health
from gateway.fleet.errand import Errand
from gateway.fleet.fleet import Fleet
from gateway.fleet.turns import QueueRules
from gateway.roster.keys import read_roster
from gateway.upstream.line import Patience
from gateway.upstream.retry import RetryRules
from gateway.upstream.solar import Solar
from gateway.upstream.transport import PooledTransport
from tests.fakes.solar_process import SolarProcess, a_solar_process

RULES = BreakerRules(failures_max=3, pause_s=0.2, pause_max_s=0.5, refused_pause_s=0.3, refused_pause_max_s=0.5)
PATH, JSON = "/chat/completions", "application/json"


def body(words: str = "tokens=2") -> bytes:
    return json.dumps({"model": "solar-pro4", "messages": [{"role": "user", "content": f"[[sim: {words}]]"}]}).encode()


def a_solar(keys: str, url: str, *, resend_lost: bool = True, queue: QueueRules | None = None) -> Solar:
    return Solar(
        PooledTransport(connections_max=256),
        Fleet(read_roster(keys, url), RULES, queue or QueueRules()),
        Patience(2.0, 10.0, 10.0),
        RetryRules(3, resend_lost),
    )


async def call(solar: Solar, account: str = "acc", words: str = "tokens=2") -> Errand:
    """One whole answer; what became of its attempts."""
    errand = Errand(account, "solar-pro4", 50)
    answer = await solar.send(PATH, body(words), JSON, errand)
    assert answer.status == 200
    read, _ = await answer.read(1_000_000)
    answer.seat.used(json.loads(read)["usage"]["total_tokens"])
    await answer.close()
    return errand


@pytest.fixture(scope="module")
def upstream() -> Iterator[SolarProcess]:
    with a_solar_process("--keys", "up_a,up_b") as process:
        yield process


@pytest.mark.parametrize(
    ("fault", "health", "lost"),
    [
        ("503", Health.FAILING, 0),
        ("504", Health.FAILING, 1),
        ("drop", Health.FAILING, 1),
        ("401:api_key_is_blocked", Health.REFUSED, 0),
        ("403:api_key_is_not_allowed", Health.REFUSED, 0),
        ("429:usage_limit_exceeded", Health.REFUSED, 0),
    ],
)
async def test_while_one_key_has_a_fault_no_call_fails_and_it_comes_back_by_itself(
    upstream: SolarProcess, fault: str, health: Health, lost: int
) -> None:
    solar = a_solar("a=up_a,b=up_b", upstream.url)
    member, _ = solar.fleet.members
    await asyncio.to_thread(upstream.fault, "up_a", fault)
    try:
        errands = [await call(solar) for _ in range(12)]
        assert (member.healthy, member.breaker.health) == (False, health)
        failed = [errand for errand in errands if errand.attempts > 1]
        assert 1 <= len(failed) <= RULES.failures_max
        assert all(len(errand.lost) == lost for errand in failed)
        assert {each.upstream_key for errand in failed for each in errand.lost} <= {"a"}
    finally:
        await asyncio.to_thread(upstream.fault, "up_a", "")
    async with asyncio.timeout(10):
        while not member.healthy:
            assert (await call(solar)).lost == ()
            await asyncio.sleep(0.05)
    await solar.close()


async def test_a_call_that_was_lost_goes_to_another_key_once_and_only_where_that_is_wanted(
    upstream: SolarProcess,
) -> None:
    for key in ("up_a", "up_b"):
        await asyncio.to_thread(upstream.fault, key, "drop")
    try:
        for resend, attempts in ((True, 2), (False, 1)):
            solar = a_solar("a=up_a,b=up_b", upstream.url, resend_lost=resend)
            errand = Errand("acc", "solar-pro4", 50)
            with pytest.raises(UpstreamUnavailable) as told:
                await solar.send(PATH, body(), JSON, errand)
            assert told.value.status == 502
            assert (errand.attempts, len(errand.lost)) == (attempts, attempts)
            await solar.close()
    finally:
        for key in ("up_a", "up_b"):
            await asyncio.to_thread(upstream.fault, key, "")


async def test_an_outage_of_one_key_then_of_both_under_load_fails_calls_only_while_none_lives(
    upstream: SolarProcess,
) -> None:
    solar = a_solar("a=up_a,b=up_b", upstream.url)
    ended: list[tuple[float, bool]] = []
    running = True

    async def caller() -> None:
        while running:
            begun_s = time.monotonic()
            try:
                await call(solar)
                ended.append((begun_s, True))
            except UpstreamUnavailable:
                ended.append((begun_s, False))
                await asyncio.sleep(0.02)

    async def outage(*keys: str) -> tuple[float, float]:
        begun_s = time.monotonic()
        for key in keys:
            await asyncio.to_thread(upstream.fault, key, "503")
        await asyncio.sleep(0.4)
        for key in keys:
            await asyncio.to_thread(upstream.fault, key, "")
        for _ in range(500):
            if all(member.healthy for member in solar.fleet.members):
                break
            await asyncio.sleep(0.02)
        assert all(member.healthy for member in solar.fleet.members)
        return begun_s, time.monotonic()

    callers = [asyncio.ensure_future(caller()) for _ in range(12)]
    await outage("up_a")
    await outage("up_b")
    assert all(ok for _, ok in ended)
    begun_s, recovered_s = await outage("up_a", "up_b")
    await asyncio.sleep(0.3)
    running = False
    await asyncio.gather(*callers)
    failed = [at_s for at_s, ok in ended if not ok]
    assert failed
    assert all(begun_s - 1 <= at_s <= recovered_s for at_s in failed)
    assert sum(ok for at_s, ok in ended if at_s > recovered_s) > 10
    await solar.close()


async def test_a_key_out_of_quota_leaves_the_load_to_the_other_and_nobody_waits() -> None:
    with a_solar_process("--keys", "up_a,up_b", "--quotas", "up_a=5", "--window-s", "60") as upstream:
        solar = a_solar("a=up_a,b=up_b", upstream.url)
        errands = [await call(solar) for _ in range(60)]
        counts = Counter(row["key"] for row in upstream.truth() if row["outcome"] == "served")
        assert counts["up_a"] <= 5
        assert counts["up_a"] + counts["up_b"] == 60
        assert sum(errand.attempts - 1 for errand in errands) <= 3, "refused twice, it is left alone"
        assert solar.fleet.turns.waited_total == 0
        await solar.close()


QUOTA, WINDOW_S, WINDOWS = 100, 2, 4
FEW, MANY = 14, 700
"""Callers of an account with each worker: of the few, more than its share of a window, so that one of them always waits."""


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
async def test_one_account_at_fifty_times_the_load_of_nine_others_leaves_each_its_share_within_5_percent(
    workers: int,
) -> None:
    """Two workers have nothing in common but the key: each is fair, and so both together are to accounts that call both."""
    queue = QueueRules(wait_max_s=60.0, waiting_max=1000, account_max=1000)
    with a_solar_process("--keys", "up_a", "--quotas", f"up_a={QUOTA}", "--window-s", str(WINDOW_S)) as upstream:
        solars = [a_solar("a=up_a", upstream.url, queue=queue) for _ in range(workers)]
        served: list[tuple[float, str]] = []
        refused: Counter[str] = Counter()

        async def first_to_know(solar: Solar, number: int) -> None:
            await asyncio.gather(call(solar, f"first-{number}"), return_exceptions=True)

        for solar in solars:
            solar.fleet.sharers = lambda: workers
            while not solar.fleet.members[0].quota("solar-pro4").gated:  # until it is refused, nobody knows of a quota
                await asyncio.gather(*[first_to_know(solar, number) for number in range(10)])

        async def caller(solar: Solar, account: str) -> None:
            while True:
                try:
                    await call(solar, account)
                    served.append((time.time(), account))
                except RateLimited as error:
                    refused[account] += 1
                    await asyncio.sleep(error.retry_after_ms / 1000)

        accounts = [f"small-{number}" for number in range(9)]
        names = ["hog"] * MANY + [account for account in accounts for _ in range(FEW)]
        callers = [asyncio.ensure_future(caller(solar, name)) for solar in solars for name in names]
        done, _ = await asyncio.wait(callers, timeout=(WINDOWS + 2) * WINDOW_S, return_when=asyncio.FIRST_EXCEPTION)
        assert not done
        for task in callers:
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        for solar in solars:
            await solar.close()
    first = int(served[0][0] // WINDOW_S) + 1  # whole windows
    counts = Counter(account for at_s, account in served if first <= at_s // WINDOW_S < first + WINDOWS)
    total = sum(counts.values())
    print(f"served {total} in {WINDOWS} windows of {QUOTA}; {dict(counts)}; refused {dict(refused)}")
    assert total >= 0.5 * QUOTA * WINDOWS, "most of the quota is used, even on a busy machine"
    for account in accounts:
        assert abs(counts[account] - total / 10) <= 0.05 * total / 10


async def test_beyond_the_queues_bound_a_caller_is_told_the_truth_about_when_to_come_again() -> None:
    queue = QueueRules(wait_max_s=0.5, waiting_max=10, account_max=5)
    with a_solar_process("--keys", "up_a", "--quotas", "up_a=3", "--window-s", "10") as upstream:
        solar = a_solar("a=up_a", upstream.url, queue=queue)
        told: list[tuple[float, int]] = []
        for _ in range(8):
            try:
                await call(solar)
            except RateLimited as error:
                told.append((time.time(), error.retry_after_ms))
        assert len(told) >= 4
        for at_s, wait_ms in told:
            opens_s = (at_s // 10 + 1) * 10
            assert opens_s - 0.5 <= at_s + wait_ms / 1000 <= opens_s + 1.5
        await solar.close()
