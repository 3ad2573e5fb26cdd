"""Redis away, or back with less than it knew: a key stays with its call, whichever worker of whichever machine is asked."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.replay.notes import Notes
from gateway.replay.seal import Seal
from gateway.replay.shelf import Claim, Found, Shelf
from tests.gateway.replay.works import OTHER_SEAL, SEAL, Works, claimed


@pytest.fixture
def both(works: Works, tmp_path: Path) -> list[Shelf]:
    """Two workers of one machine, which Redis has just heard; it knows of no others."""
    shelves = [works.shelf(notes_of(tmp_path, worker)) for worker in ("w1", "w2")]
    for shelf in shelves:
        shelf.confirmed(0)
    return shelves


def notes_of(folder: Path, worker: str = "w1", *, keep_s: float = 3600, rows_max: int = 1000) -> Notes:
    return Notes(folder / "keys", worker=worker, keep_s=keep_s, rows_max=rows_max)


async def test_while_redis_is_away_a_key_that_was_claimed_before_is_another_calls(
    works: Works, both: list[Shelf]
) -> None:
    running, ended = await claimed(both[0]), await claimed(both[0], "call-2", seal=OTHER_SEAL)
    await both[0].begin(running)
    await both[0].begin(ended)
    await both[0].finish(ended, b"answer")
    works.away = True
    for shelf in both:
        assert await shelf.claim(SEAL, 0, "call-3", "d") == Found("running", "call-1")
        assert await shelf.claim(OTHER_SEAL, 0, "call-4", "d") == Found("running", "call-2")
        assert await shelf.claim(SEAL, 0, "call-5", "other") == Found("other", "call-1")
    works.away = False
    kept = await both[1].claim(OTHER_SEAL, 0, "call-6", "d")
    assert isinstance(kept, Found)
    assert kept.what == "answer"


async def test_while_redis_is_away_one_of_many_at_once_takes_a_new_key_and_redis_is_told_when_it_is_back(
    works: Works, both: list[Shelf]
) -> None:
    works.away = True
    replies = [await both[n % 2].claim(SEAL, 0, f"call-{n}", "d") for n in range(6)]
    (claim,) = [reply for reply in replies if isinstance(reply, Claim)]
    assert {reply.call_id for reply in replies if isinstance(reply, Found)} == {"call-0"}
    assert claim.state == "claimed"
    await both[0].begin(claim)
    works.away = False
    assert await both[1].claim(SEAL, 0, "call-7", "d") == Found("running", "call-0"), (
        "Redis calls it free; the notes do not"
    )
    await both[0].tell_again(0)
    assert not claim.alone
    assert await works.shelf().claim(SEAL, 0, "call-8", "d") == Found("running", "call-0"), "Redis knows it now"
    await both[0].finish(claim, b"answer")
    kept = await both[1].claim(SEAL, 0, "call-9", "d")
    assert isinstance(kept, Found)
    assert (kept.what, kept.call_id) == ("answer", "call-0")


async def test_a_key_that_was_freed_is_free_also_without_redis(works: Works, both: list[Shelf]) -> None:
    await both[0].free(await claimed(both[0]))
    works.away = True
    claim = await claimed(both[1], "call-2")
    await both[1].free(claim)
    assert (await claimed(both[0], "call-3")).alone


async def test_where_workers_of_another_machine_may_know_the_key_it_is_refused(works: Works, tmp_path: Path) -> None:
    for live in (2, 0):  # one more than this machine has; nobody knows how many there are
        shelf = works.shelf(notes_of(tmp_path), live=live)
        shelf.confirmed(0)
        works.away = True
        assert await shelf.claim(SEAL, 0, "call-1", "d") == Found("unknown", "call-1")
        works.away = False


async def test_a_redis_that_forgot_gives_no_key_away_before_every_live_worker_has_told_it_what_it_knows(
    works: Works,
) -> None:
    first, second = works.shelf(), works.shelf()
    era = await works.beat("w1")
    await works.beat("w2")
    claim = await claimed(first)
    await first.begin(claim)
    await first.finish(claim, b"answer")
    await works.redis.flushall()
    asked = asyncio.ensure_future(second.claim(SEAL, 0, "call-2", "d"))
    await works.beat("w2", era)  # the first to meet the new history: it calls the others
    await asyncio.sleep(0.2)
    assert not asked.done()
    await works.beat("w1", era)
    await first.tell_again(0)
    kept = await asked
    assert isinstance(kept, Found)
    assert (kept.what, kept.call_id) == ("answer", "call-1")
    new = asyncio.ensure_future(second.claim(OTHER_SEAL, 0, "call-3", "d"))
    await asyncio.sleep(0.2)
    assert not new.done(), "there may be workers that nobody knows"
    await works.redis.delete("{s0}:missing")  # as its bound does
    assert isinstance(await new, Claim)


async def test_what_ended_just_before_a_long_outage_is_told_again_after_it(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.replay.shelf._FORGOTTEN_S", 0.0)
    shelf = works.shelf()
    for number in range(2):  # the second ends later than all that a living Redis may forget
        claim = await claimed(shelf, f"call-{number}", seal=(SEAL, OTHER_SEAL)[number])
        await shelf.begin(claim)
        works.away = number == 1
        await shelf.finish(claim, b"answer")
    assert len(shelf._ended) == 2
    works.away = False
    shelf.confirmed(0)
    claim = await claimed(shelf, "call-3", seal=Seal("s", "a", "k", "third"))
    await shelf.begin(claim)
    await shelf.finish(claim, b"answer")
    assert [ended.claim.call_id for ended in shelf._ended] == ["call-1", "call-3"]


async def test_a_file_that_cannot_be_read_refuses_without_redis_and_is_not_missed_with_it(
    works: Works, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_bytes(b"no folder")
    shelf = works.shelf(notes_of(tmp_path))
    shelf.confirmed(0)
    await shelf.free(await claimed(shelf))
    works.away = True
    assert (await shelf.claim(SEAL, 0, "call-2", "d")) == Found("unknown", "call-2")


def test_notes_have_a_bound_in_number_and_in_time(tmp_path: Path) -> None:
    for keep_s, rows_max in ((3600, 100), (0.0, 10_000)):
        notes = notes_of(tmp_path, keep_s=keep_s, rows_max=rows_max)
        for number in range(1100):
            assert notes.share(f"{keep_s}-{number}", "a", "d", "c", known=False) is None
        notes.close()
        with sqlite3.connect(tmp_path / "keys" / "keys.sqlite") as file:
            (rows,) = file.execute("SELECT count(*) FROM note").fetchone()
        assert rows <= 100 + 256
    assert (tmp_path / "keys" / "keys.sqlite").stat().st_mode & 0o777 == 0o600
