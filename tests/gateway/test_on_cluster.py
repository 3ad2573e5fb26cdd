"""The whole gateway on a Redis Cluster over TLS: processes, limits, caps, usage and revocation as on a single Redis.

(The rooms run on a plain cluster in tests/gateway/admission.) The authority is the test's own, named by `SSL_CERT_FILE`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from redis.exceptions import RedisError

from gateway.admission.connect import open_pipe, open_redis
from gateway.admission.pipe import StoreUnavailable
from tests.fakes.redis_cluster import Cluster, running_cluster
from tests.fakes.tls import new_authority, tls_ends
from tests.gateway.test_refusals import CHAT
from tests.running import Gateway


async def test_calls_of_many_accounts_are_limited_billed_and_revoked_on_a_cluster_over_tls(
    gateway: Gateway, tmp_path: Path
) -> None:
    authority = new_authority(tmp_path / "tls")
    async with running_cluster(tmp_path / "cluster") as cluster:
        with tls_ends(authority, [node.port for node in cluster.nodes]) as ports:
            for node, port in zip(cluster.nodes, ports, strict=True):
                await node.redis.config_set("cluster-announce-client-port", port)
            url = "rediss+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)
            await refused_without_the_authority(ports[0])
            # The ends are threads of this test's: on a busy machine they are slow, which is not what is tried out here.
            given = {"SSL_CERT_FILE": str(authority.ca_path), "GATEWAY_REDIS_CIRCUIT_MS": "3000"}
            await asyncio.to_thread(served_and_tried_out, gateway, url, tmp_path, **given)
        held = [await node.redis.dbsize() for node in cluster.nodes[:3]]
    assert all(count > 0 for count in held)


async def refused_without_the_authority(port: int) -> None:
    """A certificate that nobody vouches for: neither client says a word to it."""
    url = f"rediss://127.0.0.1:{port}"
    pipe, redis = open_pipe(url, timeout_s=5, waiting_max=10), open_redis(url, timeout_s=5, connections_max=2)
    with pytest.raises(StoreUnavailable, match="SSLCertVerificationError"):
        await pipe.ask("PING")
    with pytest.raises(RedisError, match="CERTIFICATE_VERIFY_FAILED"):
        await redis.ping()
    await pipe.close()
    await redis.aclose()


def served_and_tried_out(gateway: Gateway, redis_url: str, home: Path, **environment: str) -> None:
    with Gateway.beside(gateway, redis_url, home, workers=2, environment=environment) as running:
        tried_out(running.url, running.operator_token)


def tried_out(url: str, operator_token: str) -> None:
    """Twelve accounts: five calls a minute each, exact usage, and a key that dies."""
    bearer = {"authorization": f"Bearer {operator_token}"}
    with httpx.Client(base_url=f"{url}/operator/v1", headers=bearer, timeout=30, trust_env=False) as operator:
        for n in range(12):
            limits = {"requests_per_minute": 5}
            body = {"name": f"cluster {n}", "limits": limits, "monthly_cap": "1.00"}
            account = operator.post("/accounts", json=body).json()
            key = operator.post(f"/accounts/{account['id']}/keys", json={"name": "k"}).json()
            headers = {"authorization": f"Bearer {key['secret']}"}
            with httpx.Client(base_url=f"{url}/v1", headers=headers, timeout=30, trust_env=False) as caller:
                key_of_first = {"idempotency-key": f"order {n}"}
                answers = [caller.post("/chat/completions", json=CHAT, headers=key_of_first)]
                answers += [caller.post("/chat/completions", json=CHAT) for _ in range(6)]
                assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
                asked_again(caller, answers[0], f"order {n}")
                usage = caller.get("/usage").json()
                paid = sum(Decimal(answer.headers["x-solar-cost"]) for answer in answers[:5])
                assert (usage["complete"], usage["total"]["calls"]) == (True, 5)
                assert Decimal(usage["total"]["cost"]) == paid
                assert caller.get("/account").json()["month_to_date"]["held"] == "0.000000000"
                assert operator.delete(f"/keys/{key['id']}").status_code == 200
                assert caller.post("/chat/completions", json=CHAT).status_code == 401


def asked_again(caller: httpx.Client, first: httpx.Response, key: str) -> None:
    """The same key: the same bytes and id, though no call is left in this minute; another body is told apart."""
    again = caller.post("/chat/completions", json=CHAT, headers={"idempotency-key": key})
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["x-solar-replayed"] == "true"
    assert again.headers["x-request-id"] == first.headers["x-request-id"]
    other = caller.post("/chat/completions", json={**CHAT, "max_tokens": 3}, headers={"idempotency-key": key})
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")


ACCOUNTS, CALLS, AT_ONCE, SEED = 12, 240, 24, 8
INPUT, CACHED, OUTPUT = Decimal("0.30"), Decimal("0.06"), Decimal("1.20")
"""USD per million tokens of solar-pro4 (upstage-api.md, 2026-11-23)."""


class Told(NamedTuple):
    """What a caller was told of one call."""

    call_id: str
    cost: Decimal


def made(caller: httpx.Client, number: int, chance: random.Random) -> Told:
    """One whole answer or stream."""
    words = f"[[sim: id=many-{number} tokens={chance.randint(1, 60)} cached={chance.randint(0, 5)}]]"
    body: dict[str, Any] = {"model": "solar-pro4", "messages": [{"role": "user", "content": f"{words} 안녕"}]}
    if number % 2:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    answer = caller.post("/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    if not number % 2:
        return Told(answer.headers["x-request-id"], Decimal(answer.headers["x-solar-cost"]))
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    return Told(answer.headers["x-request-id"], Decimal(str(json.loads(events[-2])["usage"]["cost"])))


def all_made(running: Gateway, accounts: Sequence[str]) -> dict[str, list[Told]]:
    """By account; `AT_ONCE` at a time."""
    callers = [running.caller(running.key(account)) for account in accounts]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        told = list(pool.map(lambda n: made(callers[n % ACCOUNTS], n, random.Random(SEED + n)), range(CALLS)))
    for n, caller in enumerate(callers):
        usage = caller.get("/usage").json()
        assert (usage["complete"], usage["total"]["calls"]) == (True, CALLS // ACCOUNTS)
        assert Decimal(usage["total"]["cost"]) == sum(each.cost for each in told[n::ACCOUNTS])
        assert caller.get("/account").json()["month_to_date"]["held"] == "0.000000000"
        caller.close()
    return {account: told[n::ACCOUNTS] for n, account in enumerate(accounts)}


async def entries_of(gateway: Gateway, accounts: Sequence[str]) -> list[tuple[str, str, Decimal]]:
    """(account, call id, cost), an entry each."""
    connection = await asyncpg.connect(gateway.addresses["database_url"].replace("+asyncpg", ""))
    try:
        rows = await connection.fetch(
            "SELECT account_id, call_id, cost FROM ledger_entry WHERE account_id = ANY($1)", accounts
        )
    finally:
        await connection.close()
    return [(row["account_id"], str(row["call_id"]), row["cost"]) for row in rows]


async def test_calls_at_once_over_all_masters_are_each_in_the_ledger_once_and_to_the_digit(
    gateway: Gateway, cluster: Cluster, tmp_path: Path
) -> None:
    before = max((row["seq"] for row in gateway.truth()), default=0)
    accounts = [gateway.account(monthly_cap="1.00")["id"] for _ in range(ACCOUNTS)]

    def play() -> dict[str, list[Told]]:
        with Gateway.beside(gateway, cluster.url, tmp_path, workers=2) as running:
            return all_made(running, accounts)

    told = await asyncio.to_thread(play)  # and it has ended: what it settled is in the ledger
    held = [await node.redis.dbsize() for node in cluster.nodes[:3]]
    assert all(count > 0 for count in held), "each master has accounts of its own"
    entries = await entries_of(gateway, accounts)
    assert sorted(entries) == sorted((account, call, cost) for account in accounts for call, cost in told[account])
    served = [row for row in gateway.truth(before) if row["id"].startswith("many-")]
    assert len(served) == len({row["id"] for row in served}) == CALLS
    cached, output = (sum(row[name] for row in served) for name in ("cached_tokens", "completion_tokens"))
    prompt = sum(row["prompt_tokens"] for row in served) - cached
    assert sum(cost for _, _, cost in entries) == (prompt * INPUT + cached * CACHED + output * OUTPUT) / 1_000_000
