"""Which shards do not answer just now: whoever asks one of them is refused at once instead of waiting as well.

A shard's circuit opens when Redis broke the connection, refused for a passing reason or did not answer in time (the pipe's timeout, 250 ms
unless set otherwise), and closes when a probe of the standby went through and what it had to put right is right. Of one event loop.
"""

from __future__ import annotations

import asyncio
import time


class Circuit:
    """The circuits of one process's shards, closed at first."""

    def __init__(self) -> None:
        self._open: dict[int, float] = {}
        self.opened = asyncio.Event()
        """Something has opened since this was last cleared."""

    def is_open(self, shard: int) -> bool:
        return shard in self._open

    def failed(self, shard: int) -> None:
        """It did not answer."""
        if shard not in self._open:
            self._open[shard] = time.monotonic()
            self.opened.set()

    def works(self, shard: int) -> None:
        """It answers again."""
        self._open.pop(shard, None)

    def open_for_s(self, shard: int) -> float:
        """How long it has not answered; 0 where it does."""
        return time.monotonic() - self._open[shard] if shard in self._open else 0.0

    @property
    def open_shards(self) -> frozenset[int]:
        return frozenset(self._open)
