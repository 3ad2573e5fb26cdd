"""The whole gateway while one of its stores is away: calls go on within their bounds, beyond them are refused clearly, and every one that
was answered is in the ledger exactly once when the store is back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from tests.chaos.audit import read_entries
from tests.chaos.stage import Stage, open_stage, serving

STREAM_MAX = 1000
CALLERS = 4
SETTINGS = {
    "GATEWAY_USAGE_STREAM_MAX": str(STREAM_MAX),
    "GATEWAY_OFFLINE_EXPOSURE_USD": "0.32",  # 0.02 for each of sixteen workers
}
CHAT: dict[str, Any] = {
    "model": "solar-pro4",
    "messages": [{"role": "user", "content": "[[sim: tokens=5]] 안녕?"}],
    "max_tokens": 50,
}
DEAR = {**CHAT, "max_tokens": 60_000}
"""Costs at most 0.072: more than a worker's share of the exposure."""
_USAGE = "{s0}:usage"


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Stores that can be killed, and a gateway of two workers on them."""
    async with open_stage(tmp_path_factory.mktemp("away"), "away", **SETTINGS) as running:
        yield running
        assert await asyncio.to_thread(running.stop) == 0


class Account:
    """A key of a new account, its clients, and what they were answered."""

    def __init__(self, stage: Stage, url: str | None = None) -> None:
        account = stage.post("/accounts", {"name": "away", "monthly_cap": "50.00"})
        key = stage.post(f"/accounts/{account['id']}/keys", {"name": "k"})
        self.key_id = key["id"]
        headers = {"authorization": f"Bearer {key['secret']}"}
        base = f"{url or stage.url}/v1"
        self.clients = [
            httpx.AsyncClient(base_url=base, headers=headers, timeout=30, trust_env=False) for _ in range(CALLERS)
        ]
        self.answered: list[str] = []
        self.refused: Counter[str] = Counter()
        self.last: httpx.Response | None = None

    async def call(self, times: int, body: dict[str, Any] = CHAT) -> None:
        """So many calls by each client, one after another, streamed and not in turn."""

        async def one_after_another(client: httpx.AsyncClient) -> None:
            for number in range(times):
                streamed = number % 2 == 1
                answer = await client.post("/chat/completions", json={**body, "stream": streamed})
                if answer.status_code == 200:
                    assert not streamed or answer.text.endswith("data: [DONE]\n\n")
                    self.answered.append(answer.headers["x-request-id"])
                else:
                    self.refused[answer.json()["error"]["code"]] += 1
                self.last = answer

        await asyncio.gather(*map(one_after_another, self.clients))

    async def booked(self, stage: Stage) -> list[str]:
        """Its calls in the ledger, once the drain has moved everything."""
        redis = Redis.from_url(stage.stores.redis_url)
        try:
            async with asyncio.timeout(60):
                while await redis.xlen(_USAGE) or stage.disk.records():  # noqa: ASYNC110 - stores have nobody to tell
                    await asyncio.sleep(0.05)
        finally:
            await redis.aclose()
        entries = await read_entries(stage.stores.database_url)
        own = [entry for entry in entries if entry.key_id == self.key_id]
        assert [entry for entry in own if entry.estimated_reason] == []
        return sorted(str(entry.call_id) for entry in own)

    async def close(self) -> None:
        for client in self.clients:
            await client.aclose()


async def test_while_postgres_is_away_calls_go_on_up_to_the_streams_bound_and_all_arrive_once(stage: Stage) -> None:
    account = Account(stage)
    await account.call(4)
    await stage.stores.postgres.kill()
    redis = Redis.from_url(stage.stores.redis_url)
    try:
        await account.call(10)
        await asyncio.sleep(1.2)  # longer than a key is believed without being asked for again
        await account.call(10)
        assert account.refused == {}
        waiting: Any = await redis.xrange(_USAGE)
        assert len(waiting) >= 20 * CALLERS
        await _fill_up(redis, waiting[0][1])
        await account.call(4)
        assert set(account.refused) == {"usage_backlog_full"}
        assert account.last is not None
        assert (account.last.status_code, int(account.last.headers["retry-after"]) >= 1) == (503, True)
        assert "Nothing was sent to the model" in account.last.json()["error"]["message"]
        assert STREAM_MAX <= await redis.xlen(_USAGE) <= STREAM_MAX + 2 * CALLERS
    finally:
        await redis.aclose()
        await stage.stores.postgres.start()
    assert await account.booked(stage) == sorted(account.answered)
    refused = account.refused.total()
    await account.call(2)
    assert (account.refused.total(), len(account.answered)) == (refused, len(await account.booked(stage)))
    await account.close()


async def _fill_up(redis: Redis, fields: dict[bytes, bytes]) -> None:
    """The same record over and over, which has moved no counter: one call in the ledger, which it is already."""
    for _ in range(STREAM_MAX - await redis.xlen(_USAGE)):
        await redis.xadd(_USAGE, {**fields, b"n": b"0"})  # type: ignore[dict-item]


async def test_while_redis_is_away_calls_go_on_within_the_exposure_through_the_journal_and_arrive_once(
    stage: Stage, tmp_path: Path
) -> None:
    careful = {**stage.environment, "GATEWAY_OFFLINE_EXPOSURE_USD": "0", "GATEWAY_DATA_DIR": str(tmp_path)}
    with serving(tmp_path / "serve.log", careful, workers=1) as (process, _, url):
        account, exposed_to_nothing = Account(stage), Account(stage, url)
        await account.call(6)
        await exposed_to_nothing.call(2)
        served = len(await asyncio.to_thread(stage.truth))
        await stage.stores.valkey.kill()
        try:
            await account.call(10)
            assert account.refused == {}
            assert account.last is not None
            assert "x-solar-cost" not in account.last.headers
            assert stage.disk.records() >= 10 * CALLERS
            await account.call(1, DEAR)
            assert account.refused == {"service_unavailable": CALLERS}
            await exposed_to_nothing.call(3)
            assert exposed_to_nothing.refused == {"service_unavailable": 3 * CALLERS}
            refusal = exposed_to_nothing.last
            assert refusal is not None
            assert (refusal.status_code, refusal.headers["retry-after"]) == (503, "1")
            assert "Nothing was sent to the model, nothing is charged" in refusal.json()["error"]["message"]
            assert len(await asyncio.to_thread(stage.truth)) == served + 10 * CALLERS
        finally:
            await stage.stores.valkey.start()
        assert await account.booked(stage) == sorted(account.answered)
        await exposed_to_nothing.call(1)
        assert await exposed_to_nothing.booked(stage) == sorted(exposed_to_nothing.answered)
        assert len(exposed_to_nothing.answered) == 3 * CALLERS
        await account.close()
        await exposed_to_nothing.close()
        process.terminate()
        assert await asyncio.to_thread(process.wait, 60) == 0
