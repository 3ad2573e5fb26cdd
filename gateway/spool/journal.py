"""The journal of one process: records go in and are on the disk when `append` returns; later they are taken out again and forgotten.

Appends that come while the disk is busy share the next fsync (group commit), in a thread, so that the event loop never waits for a disk.
The journal is a row of files (segments): the newest is written, older ones wait to be taken. What a dead process left is taken over.
Units: bytes; seconds. Errors: `JournalRefused` where the bound is reached or the disk refuses; nothing of such a record is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from billing.ids import uuid7
from gateway.metrics import JOURNAL_BYTES, JOURNAL_FAULTS, JOURNAL_RECORDS
from gateway.spool.frames import framed
from gateway.spool.segment import Segment, journal_files

log = structlog.get_logger("spool")
SEGMENT_BYTES = 1024 * 1024
_PAUSE_AFTER_FAULT_S = 0.5
_T = TypeVar("_T")
_Waiting = tuple[bytes, asyncio.Future[None]]

Use = Callable[[Sequence[bytes]], Awaitable[bool]]
"""Does something with the records of a file; True where none of them is needed any more."""


class JournalRefused(Exception):
    """The record is not on the disk, and will not come back from there."""


class Journal:
    """Append-only, bounded, shared with nobody until its process is gone. Of one event loop."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._newest: Segment | None = None
        self._older: list[Segment] = []
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._writing: asyncio.Task[None] | None = None
        self._refuses_until = 0.0
        self._closed = False
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    @property
    def held_bytes(self) -> int:
        """What the files of this process hold, with what waits to be written."""
        return sum(segment.used_bytes for segment in self._segments()) + self._waiting_bytes

    @property
    def records(self) -> int:
        return sum(segment.records for segment in self._segments())

    @property
    def is_empty(self) -> bool:
        return not self._waiting and all(segment.used_bytes == 0 for segment in self._segments())

    def _segments(self) -> list[Segment]:
        return self._older if self._newest is None else [*self._older, self._newest]

    # ---- in -----------------------------------------------------------------------------------------------------------------

    async def append(self, payload: bytes) -> None:
        """Returns once the record is on the disk."""
        frame = framed(payload)
        if not self._has_room(len(frame)):
            raise JournalRefused
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((frame, future))
        self._waiting_bytes += len(frame)
        self._write_soon()
        # A caller that is cancelled gives up its answer, not the record.
        await asyncio.shield(future)

    async def is_ready(self, reserve_bytes: int) -> bool:
        """Would the disk take this much more? Asked before a call is let in that will depend on it."""
        if self._newest is None and self._has_room(reserve_bytes):
            await asyncio.shield(self._write_soon())
        return self._newest is not None and self._has_room(reserve_bytes)

    def _has_room(self, count_bytes: int) -> bool:
        refuses = self._closed or time.monotonic() < self._refuses_until
        return not refuses and self.held_bytes + count_bytes <= self._max_bytes

    def _write_soon(self) -> asyncio.Task[None]:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write_all())
        return self._writing

    async def _write_all(self) -> None:
        """Group after group, until nobody waits."""
        refused: OSError | None = None
        while True:
            group, self._waiting = self._waiting, []
            frames = b"".join(frame for frame, _ in group)
            try:
                await self._on_disk(partial(self._write, frames, len(group)))
                _tell(group, None)
            except OSError as error:
                refused = error
                self._refuses_until = time.monotonic() + _PAUSE_AFTER_FAULT_S
                _tell(group, JournalRefused())
            self._waiting_bytes -= len(frames)
            if not self._waiting:
                break
        self._show()
        if refused is not None:  # told last: a disk that is full may be the log's as well
            JOURNAL_FAULTS.inc()
            log.error("journal_refused", kind=type(refused).__name__, errno=refused.errno)

    # ---- out ----------------------------------------------------------------------------------------------------------------

    async def take(self, use: Use) -> int:
        """Hand the files of this process over, oldest first, and remove each that is done with; returns how many records left."""
        await self._on_disk(self._seal)
        taken = 0
        for segment in list(self._older):
            frames = await self._on_disk(segment.read)
            if frames.torn:
                JOURNAL_FAULTS.inc()
                log.warning("journal_torn", file=segment.path.name, records=len(frames.payloads))
            if not await use(frames.payloads):
                break
            await self._on_disk(partial(self._remove, segment))
            taken += len(frames.payloads)
        self._show()
        return taken

    async def adopt(self) -> list[bytes]:
        """Take over the files of processes that are gone; returns what they hold."""
        adopted = await self._on_disk(self._adopt)
        self._show()
        return adopted

    async def close(self) -> None:
        """Write what waits, and leave the files to the next process."""
        if self._closed:
            return
        self._closed = True
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self._on_disk(self._let_go)
        self._show()
        self._disk.shutdown()

    async def _on_disk(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)

    def _show(self) -> None:
        JOURNAL_BYTES.set(self.held_bytes)
        JOURNAL_RECORDS.set(self.records)

    # ---- in the thread: the only place that changes the row of files ---------------------------------------------------------

    def _write(self, frames: bytes, records: int) -> None:
        """After a failure a file is written no more: what it holds for certain is what it held before."""
        if self._newest is not None and not self._newest.fits(len(frames)):
            self._seal()
        if self._newest is None:
            name = uuid7(time.time_ns() // 1_000_000).hex
            self._newest = Segment.create(self._folder, name, max(SEGMENT_BYTES, len(frames)))
        if not frames:
            return
        try:
            self._newest.append(frames, records)
        except OSError:
            self._seal()
            raise

    def _seal(self) -> None:
        sealed, self._newest = self._newest, None
        if sealed is not None and sealed.used_bytes:
            self._older = [*self._older, sealed]
        elif sealed is not None:
            sealed.remove()

    def _remove(self, segment: Segment) -> None:
        self._older = [other for other in self._older if other is not segment]
        segment.remove()

    def _adopt(self) -> list[bytes]:
        mine = {segment.path for segment in self._segments()}
        payloads: list[bytes] = []
        for path in journal_files(self._folder):
            segment = None if path in mine else Segment.adopt(path)
            if segment is not None:
                self._older = [*self._older, segment]
                payloads += segment.read().payloads
                log.warning("journal_adopted", file=path.name, records=segment.records)
        return payloads

    def _let_go(self) -> None:
        for segment in self._segments():
            segment.close()
        self._newest, self._older = None, []


def _tell(group: Sequence[_Waiting], error: JournalRefused | None) -> None:
    for _, future in group:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
            future.exception()  # an asker that is gone is no error of ours
