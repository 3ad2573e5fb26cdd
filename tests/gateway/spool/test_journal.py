"""The journal on a real disk: safe when it says so, once and in order, bounded, refused whole, taken over from the dead."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.spool.frames import framed
from gateway.spool.journal import SEGMENT_BYTES, Journal, JournalRefused
from tests.waiting import wait_until

_WRITER = """
import asyncio, sys
from pathlib import Path
from gateway.spool.journal import Journal

async def main():
    journal = Journal(Path(sys.argv[1]), max_bytes=1 << 26)
    async def write(lane):
        for n in range(1_000_000):
            await journal.append(b"%d:%d" % (lane, n) + b"x" * 300)
            print(f"{lane}:{n}", flush=True)
    await asyncio.gather(*map(write, range(8)))

asyncio.run(main())
"""


@pytest.fixture
async def new_journal(tmp_path: Path) -> AsyncIterator[Callable[[], Journal]]:
    """Journals in one folder, as the workers of one machine have them."""
    opened: list[Journal] = []

    def open_one(max_bytes: int = 1 << 26) -> Journal:
        opened.append(Journal(tmp_path / "spool", max_bytes=max_bytes))
        return opened[-1]

    yield open_one
    for journal in opened:
        await journal.close()


@contextmanager
def files_no_larger_than(limit_bytes: int) -> Iterator[None]:
    """The kernel refuses every longer file of this process, as a full disk does (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("**/*") if path.is_file())


async def everything(journal: Journal) -> list[bytes]:
    """What the journal holds; it is taken out."""
    found: list[bytes] = []

    async def use(payloads: Sequence[bytes]) -> bool:
        found.extend(payloads)
        return True

    await journal.take(use)
    return found


async def test_what_went_in_comes_out_once_and_in_order_and_leaves_no_file(
    new_journal: Callable[[], Journal], tmp_path: Path
) -> None:
    journal = new_journal()
    payloads = [b"record %d" % n for n in range(500)]
    await asyncio.gather(*map(journal.append, payloads))
    assert journal.records == 500
    assert await everything(journal) == payloads
    assert journal.is_empty
    assert files(tmp_path) == []
    assert await everything(journal) == []


async def test_many_appends_share_few_fsyncs(
    new_journal: Callable[[], Journal], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def counted(fd: int) -> None:
        synced.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", counted)
    journal = new_journal()
    await asyncio.gather(*(journal.append(b"%d" % n) for n in range(1000)))
    assert 1 <= len(synced) <= 10


async def test_records_that_nobody_took_stay_for_the_next_time(new_journal: Callable[[], Journal]) -> None:
    journal = new_journal()
    await journal.append(b"one")

    async def refuse(payloads: Sequence[bytes]) -> bool:
        return False

    assert await journal.take(refuse) == 0
    await journal.append(b"two")
    assert await everything(journal) == [b"one", b"two"]


async def test_a_row_of_files_is_taken_from_the_oldest(new_journal: Callable[[], Journal], tmp_path: Path) -> None:
    journal = new_journal()
    payloads = [bytes([n]) * (SEGMENT_BYTES // 3) for n in range(8)]
    for payload in payloads:
        await journal.append(payload)
    assert len(files(tmp_path)) == 4
    assert await everything(journal) == payloads
    assert files(tmp_path) == []


async def test_the_bound_in_bytes_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    journal = Journal(tmp_path, max_bytes=3 * len(framed(b"x" * 100)))
    for _ in range(3):
        await journal.append(b"x" * 100)
    with pytest.raises(JournalRefused):
        await journal.append(b"y")
    assert not await journal.is_ready(1)
    assert await everything(journal) == [b"x" * 100] * 3
    await journal.append(b"y")
    await journal.close()


async def test_a_full_disk_refuses_whole_records_and_is_asked_again_later(
    new_journal: Callable[[], Journal], tmp_path: Path
) -> None:
    journal = new_journal()
    with files_no_larger_than(SEGMENT_BYTES // 2):
        assert not await journal.is_ready(1)
        with pytest.raises(JournalRefused):
            await journal.append(b"nowhere to go")
    assert files(tmp_path) == []

    async def again() -> None:
        while not await journal.is_ready(1):  # noqa: ASYNC110 - the disk has nobody to tell
            await asyncio.sleep(0.02)

    await asyncio.wait_for(again(), 10)
    await journal.append(b"room again")
    assert await everything(journal) == [b"room again"]


async def test_a_disk_that_fails_in_mid_file_keeps_what_was_safe_and_nothing_of_the_rest(
    new_journal: Callable[[], Journal],
) -> None:
    journal = new_journal()
    safe = b"s" * 65_000
    await journal.append(safe)
    with files_no_larger_than(65_020):
        with pytest.raises(JournalRefused):
            await journal.append(b"half of this would fit into the file that is there")
        with pytest.raises(JournalRefused):
            await journal.append(b"refused at once")
    assert await everything(journal) == [safe]


async def test_the_files_of_the_living_are_left_alone_and_those_of_the_dead_taken_over(
    new_journal: Callable[[], Journal], tmp_path: Path
) -> None:
    gone, other = new_journal(), new_journal()
    await gone.append(b"left behind")
    assert await other.adopt() == []
    await gone.close()
    assert await other.adopt() == [b"left behind"]
    assert await new_journal().adopt() == []
    assert await everything(other) == [b"left behind"]
    assert files(tmp_path) == []


async def test_a_torn_end_is_skipped_and_what_stands_before_it_is_kept(
    new_journal: Callable[[], Journal], tmp_path: Path
) -> None:
    gone = new_journal()
    await asyncio.gather(gone.append(b"first"), gone.append(b"second"))
    await gone.close()
    (path,) = (tmp_path / "spool").iterdir()
    whole = len(framed(b"first")) + len(framed(b"second"))
    with path.open("r+b") as file:
        file.seek(whole)
        file.write(framed(b"third, of which the disk has a part")[:-9])
    other = new_journal()
    await other.adopt()
    assert await everything(other) == [b"first", b"second"]
    assert files(tmp_path) == []


async def test_a_process_killed_in_mid_write_loses_nothing_that_it_was_told_is_safe(
    new_journal: Callable[[], Journal], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    with told.open("wb") as out:
        argv = [sys.executable, "-c", _WRITER, str(tmp_path / "spool")]
        writer = await asyncio.create_subprocess_exec(*argv, stdout=out)
        await asyncio.to_thread(wait_until, lambda: told.stat().st_size > 5000, 60, "the writer is at it")
        writer.send_signal(signal.SIGKILL)
        await writer.wait()
    safe = set(told.read_bytes().rpartition(b"\n")[0].split())
    journal = new_journal()
    await journal.adopt()
    found = [payload.rstrip(b"x") for payload in await everything(journal)]
    assert len(safe) > 500
    assert safe <= set(found)
    assert len(found) == len(set(found))
    assert files(tmp_path) == ["told"]
