"""The story itself: what is asked of the operator's API, and what is called through the SDK.

Units: money is Decimal USD as the gateway reports it; nothing is computed here.
Errors: `httpx.HTTPError` and `solar_sdk.SolarError`, which end the demo.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

import solar_sdk
from billing.exports.statement import to_wire_instant
from billing.periods import Month
from gateway.demo.show import Show

ZONE = "Asia/Seoul"
PARTNER, DEVELOPER = "Hanbit Books", "Cafe Dev"
_CARD = {"input": "100.00", "cached_input": "20.00", "output": "400.00"}
"""A price for the local model: high, because its answers are short."""


class Operator:
    """The operator's hand: HTTP with the operator token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(
            base_url=f"{url}/operator/v1", headers={"authorization": f"Bearer {token}"}, timeout=30, trust_env=False
        )

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return _checked(await self._client.post(path, json=dict(body or {}))).json()

    async def get(self, path: str, accept: str = "application/json") -> httpx.Response:
        return _checked(await self._client.get(path, headers={"accept": accept}))


class Refused(RuntimeError):
    """The operator's API refused a step of the story."""


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    raise Refused(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")


class Story:
    """Told in two parts: the month, and its end."""

    def __init__(self, show: Show, month: Month, model: str, *, local: bool) -> None:
        self._show = show
        self._month = month
        self._local = local
        self._names: dict[str, str] = {}
        self.model = model
        self.developer_key = ""

    async def use(self, operator: Operator) -> None:
        """The month: accounts, keys, what the partner gave, and calls of every kind."""
        if self._local:
            await operator.post("/rate-cards", {"effective_at": "1970-01-01T00:00:00Z", "models": {self.model: _CARD}})
        partner_key = await self._account(operator, PARTNER, kind="club")
        self.developer_key = await self._account(operator, DEVELOPER, monthly_cap="50.00")
        partner_id = next(id for id, name in self._names.items() if name == PARTNER)
        start, _ = self._month.bounds(ZONE)
        for dataset, words, tokens, days_ago in (
            ("books-2024", 120_000_000, 150_000_000, 400),
            ("essays", 24_000, 30_000, 2),
        ):
            gift = {
                "dataset": dataset,
                "words": words,
                "tokens": tokens,
                "accepted_at": to_wire_instant(start - timedelta(days=days_ago)),
            }
            self._show.gift(PARTNER, await operator.post(f"/accounts/{partner_id}/contributions", gift))
        await operator.post("/share-plans", {"effective_month": str(self._month), "pool_rate": "0.20"})
        self._show.step(f"Calling solar_sdk, as {PARTNER} and as {DEVELOPER}")
        for name, key in ((PARTNER, partner_key), (DEVELOPER, self.developer_key)):
            await asyncio.to_thread(self._call, operator.url, name, key)
            await self._call_async(operator.url, name, key)
        for name, key in ((PARTNER, partner_key), (DEVELOPER, self.developer_key)):
            await asyncio.to_thread(self._summarize, operator.url, name, key)

    async def settle(self, operator: Operator, directory: Path) -> None:
        """The month's end: invoices and shares, written to files."""
        self._show.step(f"Closing {self._month}: the clock now stands three hours into the next month")
        closed = await operator.post(f"/months/{self._month}/close")
        for named in closed["invoices"]:
            invoice = (await operator.get(f"/invoices/{named['id']}")).json()
            stem = directory / f"invoice-{invoice['number']}"
            _write(stem.with_suffix(".json"), json.dumps(invoice, ensure_ascii=False, indent=2))
            _write(stem.with_suffix(".csv"), (await operator.get(f"/invoices/{named['id']}", "text/csv")).text)
            self._show.invoice(self._names.get(invoice["account_id"], invoice["account_id"]), invoice, stem)
        for share in closed["shares"]:
            path = directory / f"share-{share['account_id']}.json"
            _write(path, json.dumps(share, ensure_ascii=False, indent=2))
            self._show.share(self._names.get(share["account_id"], share["account_id"]), share, path)

    async def _account(self, operator: Operator, name: str, **fields: str) -> str:
        account = await operator.post("/accounts", {"name": name, "timezone": ZONE, **fields})
        self._names[account["id"]] = name
        return str((await operator.post(f"/accounts/{account['id']}/keys", {"name": "demo"}))["secret"])

    def _call(self, url: str, name: str, key: str) -> None:
        solar_sdk.configure(api_key=key, base_url=url)
        for how, prompt in self._prompts():
            if how == "streamed":
                stream = solar_sdk.chat(prompt, stream=True, model=self.model, max_tokens=self._max_tokens)
                shown = "".join(stream)
                reply = stream.reply
                self._show.call(name, how, shown, reply)
            else:
                self._show.call(name, how, "", solar_sdk.chat(prompt, model=self.model, max_tokens=self._max_tokens))

    async def _call_async(self, url: str, name: str, key: str) -> None:
        async with solar_sdk.AsyncSolar(api_key=key, base_url=url) as client:
            with solar_sdk.meter() as meter:
                replies = await asyncio.gather(
                    *(
                        client.chat(f"{n}: 짧게 인사해 줘", model=self.model, max_tokens=16 if self._local else 256)
                        for n in range(3)
                    )
                )
            for reply in replies:
                self._show.call(name, "async", "", reply)
            self._show.metered(name, meter.calls, meter.cost)

    def _summarize(self, url: str, name: str, key: str) -> None:
        with solar_sdk.Solar(api_key=key, base_url=url) as client:
            self._show.usage(name, client.account().raw, client.usage(group_by="model").raw)

    @property
    def _max_tokens(self) -> int:
        return 32 if self._local else 100_000

    def _prompts(self) -> list[tuple[str, str]]:
        if self._local:
            return [
                ("whole", "What is a library?"),
                ("streamed", "Name three colours of the sea."),
                ("whole", "Say hello."),
            ]
        reports = [
            ("whole", f"이번 달 {n}번째 판매 보고서를 써 줘 [[sim: tokens=90000 cached=16]]") for n in range(1, 7)
        ]
        return [("whole", "안녕?"), ("streamed", "도서관이 무엇인지 설명해 줘"), *reports]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
