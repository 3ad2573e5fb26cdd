"""What neither Redis nor the local disk takes just now: kept in memory and tried again until one of them does. Of one event loop.

The last resort of a record whose caller has been told that it could not be booked. Two faults lead here (Redis away, and the disk full);
a third, the death of this process, leaves what is still owed to the sweep's estimate, and in the log.
Bounds: how many are owed at once; how long a stop waits for them. Units: seconds. Errors: none of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from gateway.metrics import OWED_RECORDS

log = structlog.get_logger("spool")
_PAUSE_S = 0.25
Try = Callable[[], Awaitable[bool]]
"""Tries once to have a record taken; True where it was."""


class Owed:
    """The records that this process still owes."""

    def __init__(self, *, records_max: int) -> None:
        self._records_max = records_max
        self._tries: dict[str, Try] = {}
        self._trying: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._tries)

    def add(self, name: str, attempt: Try) -> None:
        """Try this until it is done; over the bound it is left to the sweep, and said so."""
        if len(self._tries) >= self._records_max:
            log.error("owed_record_dropped", call_id=name, owed=len(self._tries))
            return
        self._tries[name] = attempt
        OWED_RECORDS.set(len(self._tries))
        if self._trying is None or self._trying.done():
            self._trying = asyncio.ensure_future(self._try_all())

    async def _try_all(self) -> None:
        while self._tries:
            await asyncio.sleep(_PAUSE_S)
            for name, attempt in list(self._tries.items()):
                if not await attempt():
                    break
                del self._tries[name]
            OWED_RECORDS.set(len(self._tries))

    async def close(self, wait_s: float) -> None:
        """Wait for what is owed, within a bound; what is left then is named."""
        if self._trying is not None and not self._trying.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._trying
        if self._tries:
            log.error("owed_records_left", call_ids=sorted(self._tries))
