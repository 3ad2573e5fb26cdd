"""The whole gateway on a Redis Cluster: processes, limits, caps, usage and revocation as on a single Redis."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import httpx

from tests.fakes.redis_cluster import running_cluster
from tests.gateway.test_refusals import CHAT
from tests.running import Gateway


async def test_calls_of_many_accounts_are_limited_billed_and_revoked_on_a_cluster(
    gateway: Gateway, tmp_path: Path
) -> None:
    async with running_cluster(tmp_path / "cluster") as cluster:
        await asyncio.to_thread(served_and_tried_out, gateway, cluster.url, tmp_path)
        held = [await node.redis.dbsize() for node in cluster.nodes[:3]]
    assert all(count > 0 for count in held)


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
