"""Callers of a running stack, each answer looked at, and what Solar says that it served them."""

from __future__ import annotations

import asyncio
import collections
import json
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import httpx

from gateway.sandbox.world import World

CALLERS = 4
GATEWAYS = "http://gateways"


async def new_key(client: httpx.AsyncClient, world: World, *, grant_tokens: int = 0, **fields: Any) -> dict[str, str]:
    """The headers of a caller with a key of a new account."""
    operator = {"authorization": f"Bearer {world.operator_token}"}

    async def post(path: str, body: dict[str, Any]) -> Any:
        answer = await client.post(f"/operator/v1/accounts{path}", json=body, headers=operator)
        assert answer.is_success, answer.text
        return answer.json()

    account = (await post("", {"name": "stack", **fields}))["id"]
    if grant_tokens:
        await post(f"/{account}/contributions", {"dataset": "books", "words": grant_tokens, "tokens": grant_tokens})
    key = await post(f"/{account}/keys", {"name": "stack"})
    return {"authorization": f"Bearer {key['secret']}"}


@dataclass(frozen=True)
class Failure:
    """A call that did not end well; instants by the monotonic clock."""

    outcome: str
    began_s: float
    ended_s: float


class Load:
    """Callers that call, whole and streamed in turn, until told to stop; each answer is looked at.

    `good` is a whole answer that says its cost; `costless` one that is whole, and says none; else the status and the stable code.
    """

    def __init__(
        self, client: httpx.AsyncClient, headers: dict[str, str], *, callers: int = CALLERS, text: str = "안녕?"
    ) -> None:
        self._client = client
        self._headers = headers
        self._body = body_of(messages=[{"role": "user", "content": text}])
        self._stop = asyncio.Event()
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.failures: list[Failure] = []
        self.good_spans_s: list[tuple[float, float]] = []
        """When each good call began and ended."""
        self.in_a_row = [0] * callers
        """Good calls of each caller since its last failure."""
        self._callers = [asyncio.ensure_future(self._caller(number)) for number in range(callers)]

    async def _caller(self, number: int) -> None:
        turn = number
        while not self._stop.is_set():
            turn += 1
            began_s = time.monotonic()
            try:
                outcome = await (self._stream() if turn % 2 else self._whole())
            except httpx.HTTPError as error:
                outcome = type(error).__name__
            self.outcomes[outcome] += 1
            if outcome == "good":
                self.good_spans_s.append((began_s, time.monotonic()))
                self.in_a_row[number] += 1
            else:
                self.failures.append(Failure(outcome, began_s, time.monotonic()))
                self.in_a_row[number] = 0

    async def _whole(self) -> str:
        answer = await self._client.post("/v1/chat/completions", json=self._body, headers=self._headers)
        if answer.is_success:
            return "good" if "x-solar-cost" in answer.headers else "costless"
        return _refusal_of(answer, answer.text)

    async def _stream(self) -> str:
        body = {**self._body, "stream": True, "stream_options": {"include_usage": True}}
        async with self._client.stream("POST", "/v1/chat/completions", json=body, headers=self._headers) as answer:
            text = (await answer.aread()).decode()
        if not answer.is_success:
            return _refusal_of(answer, text)
        if text.rstrip().endswith("data: [DONE]"):
            return "good" if '"cost"' in text else "costless"
        return f"200 {text[-200:]}"

    def settle_down(self) -> None:
        """Count anew who is answered well."""
        self.in_a_row = [0] * len(self.in_a_row)

    async def over(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._callers)


def _refusal_of(answer: httpx.Response, text: str) -> str:
    again = " with retry-after" if int(answer.headers.get("retry-after", 0)) > 0 else ""
    return f"{answer.status_code} {json.loads(text)['error']['code']}{again}"


def body_of(**fields: Any) -> dict[str, Any]:
    return {"model": "solar-pro4", "messages": [{"role": "user", "content": "안녕?"}], **fields}


def truth(world: World, after: int = 0) -> tuple[int, int, int]:
    """Calls and output tokens that Solar served after a sequence number, and the newest such number."""
    records: list[dict[str, Any]] = []
    base = world.solar_url.removesuffix("/v1")
    while True:
        page = httpx.get(f"{base}/_sim/truth", params={"after": after, "limit": 1000}, trust_env=False).json()
        records += page["data"]
        if page["next"] is None:
            newest = max((record["seq"] for record in records), default=0)
            return len(records), sum(record["completion_tokens"] for record in records), newest
        after = page["next"]


async def complete_usage(client: httpx.AsyncClient, headers: dict[str, str]) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while True:
        usage = (await client.get("/v1/usage", headers=headers)).json()
        if usage["complete"]:
            return dict(usage["total"])
        assert time.monotonic() < deadline, usage


async def counters_agree(
    client: httpx.AsyncClient, headers: dict[str, str], usage: dict[str, Any], grant_tokens: int
) -> None:
    """Redis, which both versions wrote, says what the ledger says; and the ledger's money is what its tokens cost, less one grant."""
    told = (await client.get("/v1/account", headers=headers)).json()
    booked = Fraction(usage["cost"])
    # Each call is counted there in whole nano-dollars, rounded up.
    assert booked <= Fraction(told["month_to_date"]["cost"]) < booked + Fraction(usage["calls"], 10**9)
    assert Fraction(told["month_to_date"]["held"]) == 0
    models = (await client.get("/v1/models", headers=headers)).json()["data"]
    price = next(model["price"] for model in models if model["id"] == "solar-pro4")
    listed = sum(
        usage[f"{kind}_tokens"] * Fraction(price[kind]) / 10**6 for kind in ("input", "cached_input", "output")
    )
    assert Fraction(usage["list_cost"]) == listed
    assert told["grant_tokens_left"] == 0
    granted = [grant_tokens * Fraction(price[kind]) / 10**6 for kind in ("input", "output")]
    assert granted[0] < listed - booked <= granted[1]
