"""Mixed calls from many clients at once: in both formats (chat and messages), whole and streamed, with and without an Idempotency-Key, some
hanging up at a random byte.

Each client makes one call after another with a key of its own, so that an entry of the ledger belongs to the call in whose time it was
accepted. What a call asks for follows from the seed, the client and the number of the call. Units: seconds, bytes, tokens.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

_TIMEOUT_S = 15.0
_KEYED_S = 30.0
_AGAIN_S = 0.3
_BREATH_S = 0.1
_FINAL = ("idempotency_replay_gone", "idempotency_mismatch")
_BROKEN = ("interrupted", "upstream_interrupted", "service_unavailable")
"""As a replay these are final: upstream broke the answer off, or it could not be booked, and it will be the same each time."""


@dataclass(frozen=True)
class Plan:
    """One call to be made."""

    label: str
    tokens: int
    cached: int
    words: str
    streamed: bool
    keyed: bool
    usage_wanted: bool
    hangs_up_after_bytes: int | None
    path: str = "/chat/completions"

    @property
    def last_bytes(self) -> bytes:
        """How a whole stream ends."""
        return b'"type":"message_stop"}\n\n' if self.path == "/messages" else b"data: [DONE]\n\n"

    def body(self) -> dict[str, Any]:
        text = f"[[sim: id={self.label} tokens={self.tokens} cached={self.cached} {self.words}]] 오늘의 날씨와 내일의 날씨를 알려 주세요."
        body: dict[str, Any] = {
            "model": "solar-pro4",
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 200,
        }
        if self.streamed:
            body["stream"] = True
        if self.usage_wanted:
            body["stream_options"] = {"include_usage": True}
        return body


def plan_of(seed: str, client: int, number: int) -> Plan:
    chance = random.Random(f"{seed}/{client}/{number}")
    streamed = chance.random() < 0.55
    path = "/messages" if chance.random() < 0.25 else "/chat/completions"
    hangs_up = streamed and chance.random() < 0.2
    words = f"pace_ms={chance.randint(5, 40)}" if streamed else f"delay_ms={chance.randint(0, 800)}"
    return Plan(
        label=f"{seed}-{client}-{number}",
        tokens=chance.randint(1, 60),
        cached=chance.randint(0, 9),
        words=words,
        streamed=streamed,
        keyed=chance.random() < 0.5,
        usage_wanted=streamed and chance.random() < 0.5 and path != "/messages",
        hangs_up_after_bytes=chance.randint(1, 6000) if hangs_up else None,
        path=path,
    )


@dataclass
class Attempt:
    """What a client saw of one attempt of a call."""

    begun_ns: int
    ended_ns: int = 0
    status: int | None = None
    code: str | None = None
    call_id: str | None = None
    message: str = ""
    """What an error said."""

    @property
    def withheld(self) -> bool:
        """The model answered, and the gateway could not book the call: it says so."""
        return "could not book" in self.message


@dataclass
class Told:
    """What a client saw of one call."""

    plan: Plan
    begun_ns: int
    attempts: int = 0
    call_id: str | None = None
    status: int | None = None
    code: str | None = None
    whole: bool = False
    replayed: bool = False
    ended_ns: int = 0
    tries: list[Attempt] = field(default_factory=list)


@dataclass
class Client:
    """One client, its key, and its calls so far, in their order."""

    number: int
    key_id: str
    secret: str
    calls: list[Told] = field(default_factory=list)
    is_calling: bool = False

    async def run(self, url: str, seed: str, stopping: asyncio.Event) -> None:
        """Call until told to stop."""
        limits = httpx.Limits(max_connections=4)
        headers = {"authorization": f"Bearer {self.secret}"}
        async with httpx.AsyncClient(
            base_url=f"{url}/v1", headers=headers, timeout=_TIMEOUT_S, trust_env=False, limits=limits
        ) as http:
            while not stopping.is_set():
                plan = plan_of(seed, self.number, len(self.calls))
                told = Told(plan, time.time_ns())
                self.calls.append(told)
                self.is_calling = True
                await (self._until_answered(http, told) if plan.keyed else self._once(http, told))
                self.is_calling = False
                told.ended_ns = time.time_ns()
                if not told.whole:
                    await asyncio.sleep(_BREATH_S)

    async def _until_answered(self, http: httpx.AsyncClient, told: Told) -> None:
        """As an SDK with patience: the same key again and again, until the answer is there or there is none."""
        deadline = time.monotonic() + _KEYED_S
        while time.monotonic() < deadline:
            await self._once(http, told, {"idempotency-key": told.plan.label})
            if told.whole or told.code in _FINAL or (told.replayed and told.code in _BROKEN):
                return
            await asyncio.sleep(_AGAIN_S)

    async def _once(self, http: httpx.AsyncClient, told: Told, headers: dict[str, str] | None = None) -> None:
        """One attempt, written down with when it began and ended."""
        told.attempts += 1
        told.status = told.code = None
        attempt = Attempt(time.time_ns())
        told.tries.append(attempt)
        await self._ask(http, told, attempt, headers)
        attempt.ended_ns, attempt.status, attempt.code = time.time_ns(), told.status, told.code

    async def _ask(self, http: httpx.AsyncClient, told: Told, attempt: Attempt, headers: dict[str, str] | None) -> None:
        leaves_after = told.plan.hangs_up_after_bytes if told.attempts == 1 else None
        body = b""
        try:
            async with http.stream("POST", told.plan.path, json=told.plan.body(), headers=headers) as answer:
                told.status = answer.status_code
                told.replayed = "x-solar-replayed" in answer.headers
                attempt.call_id = answer.headers.get("x-request-id")
                if answer.status_code == httpx.codes.OK:
                    told.call_id = answer.headers["x-request-id"]
                async for piece in answer.aiter_bytes():
                    body += piece
                    if leaves_after is not None and len(body) >= leaves_after:
                        told.code = "hung up"
                        return
        except httpx.TransportError as error:
            told.code = type(error).__name__
            return
        if told.status == httpx.codes.OK:
            told.whole = not told.plan.streamed or body.replace(b" ", b"").endswith(
                told.plan.last_bytes.replace(b" ", b"")
            )
            told.code = None if told.whole else "interrupted"
        else:
            said = json.loads(body)["error"] if body.startswith(b"{") else {"code": "no json", "message": ""}
            told.code, attempt.message = said["code"], said["message"]
