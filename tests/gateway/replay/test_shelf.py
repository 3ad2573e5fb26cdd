"""Claims on Idempotency-Keys in a real Valkey: one call has a key, leases end with their worker, and everything has a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.admission.pipe import StoreUnavailable
from gateway.replay.seal import Seal
from gateway.replay.shelf import Claim, Found, Shelf
from tests.gateway.replay.works import OTHER_SEAL, SEAL, Works, claimed, kill


async def found(shelf: Shelf, *, digest: str = "d") -> Found:
    other = await shelf.claim(SEAL, 0, "call-2", digest)
    assert isinstance(other, Found), other
    return other


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110 - a lease has nobody to tell
            await asyncio.sleep(0.02)


async def until_not(what: str, shelf: Shelf) -> None:
    async def changed() -> bool:
        return (await found(shelf)).what != what

    await until(changed)


async def until_free(shelf: Shelf, call_id: str) -> Claim:
    claims: list[Claim] = []

    async def free() -> bool:
        claim = await shelf.claim(SEAL, 0, call_id, "d")
        claims.extend([claim] if isinstance(claim, Claim) else [])
        return bool(claims)

    await until(free)
    return claims[0]


async def test_one_of_many_calls_at_once_has_the_key_and_the_others_learn_which(works: Works) -> None:
    shelves = [works.shelf() for _ in range(3)]
    replies = await asyncio.gather(*(shelves[n % 3].claim(SEAL, 0, f"call-{n}", "d") for n in range(30)))
    claims = [reply for reply in replies if isinstance(reply, Claim)]
    assert len(claims) == 1
    assert {(r.what, r.call_id) for r in replies if isinstance(r, Found)} == {("running", claims[0].call_id)}


async def test_a_call_that_upstream_refused_frees_the_key_at_once(works: Works) -> None:
    shelf = works.shelf()
    await shelf.free(await claimed(shelf))
    await claimed(shelf, "call-2")


async def test_a_finished_call_gives_its_answer_sealed_and_is_remembered_when_the_answer_is_gone(works: Works) -> None:
    shelf = works.shelf(replay_s=0.3)
    claim = await claimed(shelf)
    await shelf.begin(claim)
    assert await found(shelf) == Found("running", "call-1")
    await shelf.finish(claim, "안녕 prompt".encode())
    kept = await found(works.shelf())
    assert (kept.what, kept.call_id) == ("answer", "call-1")
    assert SEAL.open("call-1", kept.sealed).decode() == "안녕 prompt"
    assert b"prompt" not in kept.sealed
    assert await found(shelf, digest="other") == Found("other", "call-1")
    await until_not("answer", shelf)
    assert await found(shelf) == Found("gone", "call-1")
    assert 86_000_000 < await works.redis.pttl(f"{{s0}}:x:{SEAL.name}") <= 86_400_000


async def test_a_live_worker_keeps_its_claim_far_beyond_the_lease(works: Works) -> None:
    shelf, other = works.shelf(lease_s=1.2), works.shelf()
    claim = await claimed(shelf)
    for _ in range(4):
        await asyncio.sleep(0.5)
        assert await found(other) == Found("running", "call-1")
    await shelf.begin(claim)
    for _ in range(4):
        await asyncio.sleep(0.5)
        assert await found(other) == Found("running", "call-1")
    await shelf.finish(claim, b"x")
    assert (await found(other)).what == "answer"


async def test_a_dead_workers_key_is_free_again_unless_upstream_had_begun_to_answer(works: Works) -> None:
    dead, alive = works.shelf(lease_s=0.4), works.shelf()
    await claimed(dead)
    kill(dead)
    claim = await until_free(alive, "call-2")
    assert (claim.call_id, claim.origin, claim.attempts_before) == ("call-2", "call-1", 1)
    assert await found(dead) == Found("running", "call-1")
    await alive.free(claim)
    await dead.begin(await claimed(dead, "call-3"))
    kill(dead)
    await until_not("running", alive)
    assert await found(alive) == Found("gone", "call-1"), "it is still the same call"


async def test_attempts_of_one_call_are_counted_and_its_answer_carries_the_first_ones_id(works: Works) -> None:
    shelf = works.shelf()
    claims = [await claimed(shelf)]
    for number in (2, 3):
        await works.redis.hset(claims[-1].keys[0], "u", "0")  # its lease is over
        claims.append(await claimed(works.shelf(), f"call-{number}"))
    assert [(claim.origin, claim.attempts_before) for claim in claims] == [("call-1", 0), ("call-1", 1), ("call-1", 2)]
    await shelf.begin(claims[0])  # it only slept; the key is another's now
    assert claims[0].state == "unknown"
    await shelf.begin(claims[2])
    await shelf.finish(claims[2], b"answer")
    kept = await found(shelf)
    assert (kept.what, kept.call_id, SEAL.open("call-1", kept.sealed)) == ("answer", "call-1", b"answer")


async def test_what_follows_a_failed_attempt_of_a_dead_workers_call_is_an_attempt_of_that_call_too(
    works: Works,
) -> None:
    await works.redis.hset((await claimed(works.shelf())).keys[0], "u", "0")  # its lease is over
    shelf = works.shelf()
    await shelf.free(await claimed(shelf, "call-2"))
    third = await claimed(shelf, "call-3")
    assert (third.origin, third.attempts_before) == ("call-1", 2)
    await shelf.free(third)
    assert (await claimed(shelf, "call-4", digest="other")).origin == "call-4"


async def test_a_dead_workers_key_is_free_for_another_request(works: Works) -> None:
    shelf = works.shelf()
    claim = await claimed(shelf)
    await works.redis.hset(claim.keys[0], "u", "0")
    other = await claimed(shelf, "call-2", digest="other")
    assert (other.origin, other.attempts_before) == ("call-2", 0)


async def test_a_worker_that_slept_beyond_its_lease_takes_nothing_from_the_call_that_came_after(works: Works) -> None:
    slept, alive = works.shelf(lease_s=0.3), works.shelf()
    late = await claimed(slept)
    kill(slept)
    await alive.begin(await until_free(alive, "call-2"))  # another attempt of the same call
    await slept.begin(late)
    assert late.state == "unknown"
    await slept.finish(late, b"late")
    await slept.free(late)
    assert (await alive.claim(SEAL, 0, "call-4", "d")) == Found("running", "call-1")


async def test_a_claim_that_redis_lost_is_written_again_by_its_worker(works: Works) -> None:
    shelf, other = works.shelf(lease_s=0.3), works.shelf()
    claim = await claimed(shelf)
    await shelf.begin(claim)
    await works.redis.flushall()

    async def written() -> bool:
        return bool(await works.redis.exists(f"{{s0}}:x:{SEAL.name}"))

    await until(written)
    assert await found(other) == Found("running", "call-1")
    await works.redis.flushall()
    await shelf.finish(claim, b"x")
    assert (await found(other)).what == "answer"


async def test_what_a_failover_forgot_of_the_last_seconds_is_told_again_once(works: Works) -> None:
    shelf, other = works.shelf(), works.shelf()
    claim = await claimed(shelf)
    await shelf.begin(claim)
    await shelf.finish(claim, b"answer")
    running = await claimed(shelf, "call-7", seal=OTHER_SEAL)
    await shelf.begin(running)
    await works.redis.flushall()
    for _ in range(2):
        await shelf.tell_again(0)
    kept = await found(other)
    assert (kept.what, SEAL.open("call-1", kept.sealed)) == ("answer", b"answer")
    assert await other.claim(OTHER_SEAL, 0, "call-8", "d") == Found("running", "call-7")
    kept_bytes: Any = await works.redis.get("{s0}:x.bytes")
    assert int(kept_bytes) == len(kept.sealed)


async def test_what_redis_could_not_be_told_of_a_call_that_ended_it_is_told_when_it_is_back(works: Works) -> None:
    shelf = works.shelf()
    claim = await claimed(shelf)
    works.away = True
    await shelf.begin(claim)
    await shelf.finish(claim, b"answer")
    with pytest.raises(StoreUnavailable):
        await shelf.tell_again(0)
    works.away = False
    assert await found(works.shelf()) == Found("running", "call-1")
    await shelf.tell_again(0)
    assert (await found(works.shelf())).what == "answer"


async def test_answers_of_the_last_seconds_have_a_bound_in_memory_too(works: Works) -> None:
    shelf = works.shelf(recent_max_bytes=1000, recent_max=3)
    for number in range(5):
        seal = Seal("sk-solar-" + "a" * 43, "acc_1", "key_1", f"order-{number}")
        claim = await claimed(shelf, f"call-{number}", seal=seal)
        await shelf.begin(claim)
        await shelf.finish(claim, b"x" * 500)
    assert len(shelf._ended) == 3
    assert shelf._ended_bytes == sum(len(ended.sealed) for ended in shelf._ended) <= 1000


async def test_answers_have_a_bound_together_and_make_room_when_they_expire(works: Works) -> None:
    shelf = works.shelf(total_max_bytes=3000, replay_s=0.4)
    kept = []
    for number in range(5):
        seal = Seal("sk-solar-" + "a" * 43, "acc_1", "key_1", f"order-{number}")
        claim = await claimed(shelf, f"call-{number}", seal=seal)
        await shelf.begin(claim)
        await shelf.finish(claim, b"x" * 900)
        again = await shelf.claim(seal, 0, "again", "d")
        assert isinstance(again, Found)
        kept.append(again.what)
    assert kept == ["answer", "answer", "answer", "gone", "gone"]
    kept_bytes: Any = await works.redis.get("{s0}:x.bytes")
    assert int(kept_bytes) <= 3000
    await asyncio.sleep(0.5)
    claim = await claimed(shelf, "call-9", seal=SEAL)
    await shelf.begin(claim)
    await shelf.finish(claim, b"x" * 2900)
    assert (await found(shelf)).what == "answer"


async def test_keys_remembered_have_a_bound_beyond_which_calls_go_on_unremembered(works: Works) -> None:
    shelf = works.shelf(claims_max=2)
    for number in range(2):
        seal = Seal("sk-solar-" + "a" * 43, "acc_1", "key_1", f"order-{number}")
        await shelf.begin(await claimed(shelf, seal=seal))
    over = await shelf.claim(SEAL, 0, "call-3", "d")
    assert isinstance(over, Claim)
    assert over.state == "unknown"


async def test_all_that_redis_holds_lies_in_the_accounts_slot_and_shows_neither_key_nor_body(works: Works) -> None:
    shelf = works.shelf()
    claim = await claimed(shelf, digest=SEAL.digest("chat", "application/json", b"a very secret prompt"))
    await shelf.begin(claim)
    await shelf.finish(claim, b"a very secret answer")
    keys: Any = await works.redis.keys("*")
    keys = [key for key in keys if key not in (b"{s0}:era", b"{s0}:workers")]  # heartbeats
    assert len(keys) == 5
    for key in keys:
        assert key.startswith(b"{s0}:x")
        dump: Any = await works.redis.dump(key)
        for shown in (b"order-7", b"secret", b"sk-solar"):
            assert shown not in key
            assert shown not in dump


async def test_without_redis_and_without_notes_a_key_is_refused_unless_the_operator_would_rather_serve_it_twice(
    works: Works,
) -> None:
    works.away = True
    assert await works.shelf().claim(SEAL, 0, "call-1", "d") == Found("unknown", "call-1")
    shelf = works.shelf(serve_unknown=True)
    claim = await shelf.claim(SEAL, 0, "call-1", "d")
    assert isinstance(claim, Claim)
    assert claim.state == "unknown"
    await shelf.begin(claim)
    await shelf.finish(claim, b"x")
