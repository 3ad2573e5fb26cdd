"""A Valkey of a test's own, to be killed, stopped and emptied, and workers on it with journals of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.admission.standby import OfflineRules
from gateway.sandbox.valkey import Valkey
from tests.gateway.admission.shard import NO_RULES, Shard, open_redis
from tests.gateway.values import Books

TIMEOUT_S = 0.25


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Poll a condition; fails after twenty seconds."""
    try:
        async with asyncio.timeout(20):
            while not await condition():  # noqa: ASYNC110 - stores have nobody to tell
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within 20 s: {what}") from None


@dataclass
class Outage:
    """One Valkey and the workers on it; the ledger is a value that they share."""

    valkey: Valkey
    folder: Path
    books: Books = field(default_factory=Books)

    def worker(self, *, journal_max_bytes: int = 1 << 26, share_nano: int = 0, rules: OfflineRules = NO_RULES) -> Shard:
        """A worker whose standby does not run yet."""
        return Shard(
            open_redis(self.valkey.url),
            self.books,
            timeout_s=TIMEOUT_S,
            folder=self.folder / "spool",
            journal_max_bytes=journal_max_bytes,
            share_nano=share_nano,
            rules=rules,
        )

    @asynccontextmanager
    async def standing_by(self, shard: Shard) -> AsyncIterator[Shard]:
        """A worker whose standby runs."""
        stopping = asyncio.Event()
        running = asyncio.ensure_future(shard.standby.run(stopping))
        try:
            yield shard
        finally:
            stopping.set()
            await running
            await shard.ticker.close()
            await shard.journal.close()
            await shard.redis.aclose()

    @asynccontextmanager
    async def running_worker(
        self, *, journal_max_bytes: int = 1 << 26, share_nano: int = 0, rules: OfflineRules = NO_RULES
    ) -> AsyncIterator[Shard]:
        made = self.worker(journal_max_bytes=journal_max_bytes, share_nano=share_nano, rules=rules)
        async with self.standing_by(made) as shard:
            await self.met(shard)
            yield shard

    async def met(self, shard: Shard) -> None:
        """Wait until a worker has met Redis."""

        async def answers() -> bool:
            return not shard.standby.circuit.is_open(0) and shard.ticker.circuit is not None

        await until(answers, "the circuit is closed")

    async def restart_empty(self) -> None:
        """Redis comes back and knows nothing."""
        await self.valkey.kill()
        shutil.rmtree(self.valkey.home)
        await self.valkey.start()

    def freeze(self) -> None:
        os.kill(self.valkey.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.valkey.pid, signal.SIGCONT)

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "spool").glob("*"))


@asynccontextmanager
async def an_outage(folder: Path) -> AsyncIterator[Outage]:
    async with AsyncExitStack() as stack:
        valkey = Valkey(folder / "store", appendfsync="always")
        (folder / "store").mkdir()
        await valkey.start()
        stack.push_async_callback(valkey.stop)
        yield Outage(valkey, folder)
