"""Many operations in one script call do exactly what they do one by one, whatever they are."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.admission.shard import Shard

Operation = tuple[Any, ...]
ACCOUNTS = ("acc_00000001", "acc_00000002")
FAR_MS = 4_000_000_000_000
HOLD_MS = 3_600_000
PLACE: tuple[Any, ...] = ([("a:acc_00000001", 5, 40, 3)], 7, [("m:1", 90), ("prepaid", -1)])


def admission(
    call: int, account: str, epoch: int, cards: int, cap: int, amount: int, rates: tuple[int, int, int]
) -> Operation:
    orphan = (1000, [0, 3, 0, 0, 0], [3000, 2000, 1000, 0, 0], f"orphan {call}")
    limits, money, bound = [(f"a:{account}", *rates)], [("m:1", cap), ("prepaid", -1)], (amount, 3, 3000, 2000, 0)
    return ("A", _id(call), account, epoch, cards, HOLD_MS, limits, 7, money, bound, orphan, call % 2)


def settlement(call: int, account: str, counts: list[int], pages: int) -> Operation:
    pico = [1500, 400, 70, 1000, 1000]
    return ("S", _id(call), account, *PLACE, 1000, [*counts, pages, 0], pico, f"record {call}", 3_600_000, 20)


def sync(account: str, epoch: int, counted: int, entries: int, grant: int) -> Operation:
    grants = [("g1", 0, 2000, grant), ("g2", 0, FAR_MS, 5)][: 1 + grant % 2]
    return ("Y", account, epoch, [("m:1", counted, entries), ("prepaid", counted, entries)], grants)


def _id(call: int) -> str:
    return UUID(int=call).hex


calls, accounts, small = st.integers(0, 7), st.sampled_from(ACCOUNTS), st.integers(0, 20)
rates = st.tuples(st.sampled_from((0, 2, 5)), st.sampled_from((0, 10, 40)), st.sampled_from((0, 1, 3)))
operations = st.one_of(
    st.builds(admission, calls, accounts, st.integers(1, 2), small, st.sampled_from((-1, 30, 90)), small, rates),
    st.builds(settlement, calls, accounts, st.lists(small, min_size=3, max_size=3), small),
    st.builds(sync, accounts, st.integers(1, 3), small, small, small),
    st.builds(lambda call, seen, want: ("X", _id(call), 3_600_000, seen % 2, seen, -1, want), calls, small, small),
    st.builds(lambda call: ("F", _id(call), ACCOUNTS[0], *PLACE, 3_600_000), calls),
    st.builds(lambda account, epoch: ("E", account, epoch), accounts, st.integers(1, 3)),
    st.builds(lambda version: ("C", version), small),
    st.builds(lambda count: ("W", count, 3_600_000), st.integers(1, 5)),
    st.builds(lambda account: ("V", account, ["m:1", "prepaid"]), accounts),
)


def _without_instants(replies: list[list[Any]]) -> list[list[Any]]:
    """Waits and resets depend on the instant; all else must be the same."""

    def masked(headers: list[int]) -> list[int]:
        return headers[:2] + headers[3:5]

    out = []
    for reply in replies:
        if reply[0] == "ok" and len(reply) == 4 and isinstance(reply[1], list) and len(reply[1]) == 6:
            out.append(["ok", masked(reply[1]), *reply[2:]])
        elif reply[0] == "no" and len(reply) == 5:
            out.append([*reply[:3], masked(reply[4])])
        elif reply[0] == "ok" and len(reply) == 5 and isinstance(reply[2], list):
            out.append(reply[:4])  # a settlement: the last is the stream's id of its record, which is an instant
        else:
            out.append(reply)
    return out


async def _run(shard: Shard, stages: list[list[Operation]], drained: int, *, together: bool) -> Any:
    """Two stages with a drain between them, and what is left in Redis."""
    await shard.redis.flushall()
    replies: list[list[Any]] = []
    for at, stage in enumerate(stages):
        if at:
            done = [(entry.decode(), "acc_00000001", 1, ["m:1"]) for entry, _ in (await _stream(shard))[:drained]]
            stage = [("D", done, [("acc_00000001", "m:1", 11, 4)]), *stage]
        if together:
            replies += await asyncio.gather(*[shard.ask(*operation) for operation in stage])
        else:
            replies += [await shard.ask(*operation) for operation in stage]
    stream = [fields for _, fields in await _stream(shard)]
    await shard.redis.delete("{s0}:usage")
    return _without_instants(replies), await shard.dump(), stream


async def _stream(shard: Shard) -> list[tuple[bytes, dict[bytes, bytes]]]:
    entries: Any = await shard.redis.xrange("{s0}:usage")
    return list(entries)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(operations, min_size=1, max_size=18), min_size=2, max_size=2), small)
async def test_a_batch_does_what_its_operations_do_one_by_one(
    shard: Shard, stages: list[list[Operation]], drained: int
) -> None:
    known = [sync(account, 1, 0, 0, 4) for account in ACCOUNTS]
    stages = [[*known, *stages[0]], stages[1]]
    assert await _run(shard, stages, drained, together=True) == await _run(shard, stages, drained, together=False)


async def test_more_operations_than_one_batch_holds_are_all_answered_in_their_order(shard: Shard) -> None:
    narrow = Shard(shard.redis, batch_max=7)
    asked = [narrow.ask("V", f"acc_{number:08x}", ["m:1"]) for number in range(50)]
    assert await asyncio.gather(*asked) == [["ok", [[0, 0, 0]], [], 0]] * 50


async def test_operations_of_one_tick_share_one_script_call(shard: Shard) -> None:
    await shard.ask("V", ACCOUNTS[0], [])
    before = await _scripts_run(shard)
    await asyncio.gather(*[shard.ask("V", ACCOUNTS[0], []) for _ in range(100)])
    assert await _scripts_run(shard) - before == 1


async def _scripts_run(shard: Shard) -> int:
    statistics: Any = await shard.redis.info("commandstats")
    return int(statistics["cmdstat_fcall"]["calls"])
