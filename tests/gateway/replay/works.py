"""Shelves of several workers on one Valkey, for the tests of this room."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from redis.asyncio import Redis

from gateway.admission.batch import Ticker
from gateway.admission.pipe import StoreUnavailable
from gateway.replay.notes import Notes
from gateway.replay.seal import Seal
from gateway.replay.shelf import Claim, Shelf, ShelfBounds
from tests.gateway.admission.shard import open_pipe

SEAL = Seal("sk-solar-" + "a" * 43, "acc_1", "key_1", "order-7")
OTHER_SEAL = Seal("sk-solar-" + "a" * 43, "acc_1", "key_1", "order-8")
BOUNDS = ShelfBounds(shards=1, keep_s=86_400, replay_s=120.0, lease_s=5.0, total_max_bytes=100_000, claims_max=1000)


class Works:
    """Shelves of several workers on one Valkey."""

    def __init__(self, url: str, redis: Redis) -> None:
        self.redis = redis
        self.pipe = open_pipe(url)
        self.ticker = Ticker(self.pipe, batch_max=100, stream_max=1000)
        self.away = False
        self._shelves: list[Shelf] = []

    def shelf(self, notes: Notes | None = None, *, live: int = 2, **bounds: Any) -> Shelf:
        def ask(shard: int, *command: bytes | str | int) -> asyncio.Future[Any]:
            if self.away:
                raise StoreUnavailable
            return self.pipe.ask(*command)

        self._shelves.append(Shelf(ask, replace(BOUNDS, **bounds), notes, lambda: live))
        return self._shelves[-1]

    async def close(self) -> None:
        for shelf in self._shelves:
            kill(shelf)
        await self.pipe.close()

    async def beat(self, worker: str, known: int = 0) -> int:
        """A worker's heartbeat; returns the era that it meets."""
        reply = await self.ticker.ask(0, ("B", worker, known, 5000, 5000))
        return int(reply[1])


async def claimed(shelf: Shelf, call_id: str = "call-1", *, seal: Seal = SEAL, digest: str = "d") -> Claim:
    claim = await shelf.claim(seal, 0, call_id, digest)
    assert isinstance(claim, Claim), claim
    assert claim.state == "claimed"
    return claim


def kill(shelf: Shelf) -> None:
    """The worker stops without a word."""
    shelf._open.clear()
    if shelf._renewing is not None:
        shelf._renewing.cancel()
