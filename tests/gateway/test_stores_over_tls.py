"""The stores over TLS: both ways to Redis and the way to Postgres check whom they speak with, and refuse anybody else.

The embedded stores are built without TLS, so a front takes it off before them (tests/fakes/tls_front.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.admission.connect import open_pipe
from gateway.admission.pipe import StoreUnavailable
from gateway.app import open_house
from gateway.sandbox.stores import Stores
from gateway.settings import Settings
from tests.fakes.tls_front import CERTIFICATE, tls_front


@asynccontextmanager
async def over_tls(stores: Stores, database_url: str) -> AsyncIterator[tuple[str, str]]:
    """(Postgres, Redis): their addresses behind TLS, without a word of whom to trust."""
    database, redis = urlsplit(database_url), urlsplit(stores.redis_url)
    async with tls_front(int(database.port or 0), postgres=True) as first, tls_front(int(redis.port or 0)) as second:
        yield (
            f"postgresql://{database.username}:{database.password}@localhost:{first}{database.path}",
            f"rediss://:{redis.password}@localhost:{second}/0",
        )


def settings(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    return Settings.model_validate({"database_url": database_url, "redis_url": redis_url, "data_dir": tmp_path})


async def test_the_house_speaks_tls_with_both_stores(stores: Stores, database_url: str, tmp_path: Path) -> None:
    async with over_tls(stores, database_url) as (database, redis):
        known = f"{database}?sslmode=verify-full&sslrootcert={CERTIFICATE}", f"{redis}?ssl_ca_certs={CERTIFICATE}"
        async with open_house(settings(tmp_path, *known)) as house:
            assert await house.stores_answer()
        pipe = open_pipe(known[1], timeout_s=5, waiting_max=10)
        assert await pipe.ask("PING") == b"PONG"
        await pipe.close()


async def test_a_store_that_nobody_vouches_for_is_not_spoken_with(
    stores: Stores, database_url: str, tmp_path: Path
) -> None:
    async with over_tls(stores, database_url) as (database, redis):
        trusted = f"{redis}?ssl_ca_certs={CERTIFICATE}"
        async with open_house(settings(tmp_path, f"{database}?sslmode=verify-full", trusted)) as house:
            assert not await house.stores_answer()
        pipe = open_pipe(redis, timeout_s=5, waiting_max=10)
        with pytest.raises(StoreUnavailable):
            await pipe.ask("PING")
        await pipe.close()


async def test_a_name_that_is_not_on_the_certificate_is_refused(
    stores: Stores, database_url: str, tmp_path: Path
) -> None:
    async with over_tls(stores, database_url) as (database, redis):
        vouched = f"sslmode=verify-full&sslrootcert={CERTIFICATE}"
        other = f"{database.replace('localhost', '127.0.0.1')}?{vouched}"
        async with open_house(settings(tmp_path, other, f"{redis}?ssl_ca_certs={CERTIFICATE}")) as house:
            assert not await house.stores_answer()
