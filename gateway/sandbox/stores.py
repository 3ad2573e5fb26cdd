"""Both stores of a sandbox, Postgres and Valkey, under one data directory, started and stopped together.

    async with Stores.open(Path(".solar")) as stores:
        stores.database_url, stores.redis_url

Data and passwords stay for the next start of the same directory; ports are chosen anew by each `Stores`. One `Stores`
per directory at a time: a second one is refused with SandboxInUse. Ended by kill -9, nothing is left running, and the
next start works at once. Start it from the main thread (launch.py says why). Raises the errors drawn in processes.py.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from gateway.sandbox.postgres import Postgres
from gateway.sandbox.valkey import AppendFsync, Valkey


class Stores:
    """Postgres and Valkey of one sandbox."""

    def __init__(self, data_dir: Path, *, appendfsync: AppendFsync = "everysec") -> None:
        self.postgres = Postgres(data_dir)
        self.valkey = Valkey(data_dir, appendfsync=appendfsync)

    @classmethod
    @asynccontextmanager
    async def open(cls, data_dir: Path, *, appendfsync: AppendFsync = "everysec") -> AsyncIterator[Self]:
        """Both, running, for the length of a block."""
        stores = cls(data_dir, appendfsync=appendfsync)
        await stores.start()
        try:
            yield stores
        finally:
            await stores.stop()

    @property
    def database_url(self) -> str:
        """postgresql+asyncpg://solar:…@127.0.0.1:…/solar"""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """redis://:…@127.0.0.1:…/0"""
        return self.valkey.url

    async def start(self) -> None:
        """Both, side by side; returns when both answer. If one fails, the other is stopped too."""
        starts = [asyncio.ensure_future(server.start()) for server in (self.postgres, self.valkey)]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await self.stop()
            raise

    async def stop(self) -> None:
        """Both, side by side, each within its bound. Safe to repeat."""
        outcomes = await asyncio.gather(self.valkey.stop(), self.postgres.stop(), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
