"""Usage down to the call over HTTP: pages, NDJSON and CSV say the same, and each caller sees only what is its own."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx

from billing.ledger.calls import HOUSE_COLUMNS, OWN_COLUMNS
from billing.periods import Month
from tests.gateway.test_refusals import CHAT, error_of
from tests.running import Gateway


def pages_of(caller: httpx.Client, limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query = {"limit": limit} | ({} if cursor is None else {"after": cursor})
        page = caller.get("/usage/calls", params=query).json()
        rows += page["data"]
        cursor = page["next"]
        if cursor is None:
            return rows


def test_pages_ndjson_and_csv_hold_each_call_of_the_account_once(gateway: Gateway) -> None:
    account = gateway.account()
    secret, stranger = gateway.key(account["id"]), gateway.new_key()
    with gateway.caller(stranger) as other:
        other.post("/chat/completions", json=CHAT).raise_for_status()
    with gateway.caller(secret) as caller:
        ids = [caller.post("/chat/completions", json=CHAT).headers["x-request-id"].replace("-", "") for _ in range(5)]
        paged = pages_of(caller, 2)
        lines = caller.get("/usage/calls", headers={"accept": "application/x-ndjson"})
        table = caller.get("/usage/calls", headers={"accept": "text/csv"})
    assert sorted(row["call_id"] for row in paged) == sorted(ids)
    assert [row["place"] for row in paged] == [1, 2, 3, 4, 5]
    assert {tuple(row) for row in paged} == {OWN_COLUMNS}
    assert [json.loads(line) for line in lines.text.splitlines()] == paged
    cells = list(csv.DictReader(io.StringIO(table.text)))
    assert [(cell["call_id"], cell["cost"], cell["streamed"]) for cell in cells] == [
        (row["call_id"], row["cost"], "false") for row in paged
    ]


def test_the_operator_sees_upstreams_cost_and_a_caller_never_does(gateway: Gateway) -> None:
    account = gateway.account()
    with gateway.caller(gateway.key(account["id"])) as caller:
        caller.post("/chat/completions", json=CHAT).raise_for_status()
        own = caller.get("/usage/calls").text + caller.get("/usage").text + caller.get("/models").text
    month = str(Month.of(datetime.now(UTC), "Asia/Seoul"))
    token = {"authorization": f"Bearer {gateway.operator_token}"}
    url = f"{gateway.url.removesuffix('/v1')}/operator/v1/usage/calls"
    page = httpx.get(url, params={"month": month, "account": account["id"]}, headers=token).json()
    assert [tuple(row) for row in page["data"]] == [HOUSE_COLUMNS]
    usage = httpx.get(url.removesuffix("/calls"), params={"account": account["id"]}, headers=token).json()["total"]
    [row] = page["data"]
    assert Decimal(row["buy_cost"]) == Decimal(row["list_cost"]) > 0
    assert (usage["buy_cost"], Decimal(usage["margin"])) == (usage["list_cost"], Decimal(0))
    assert (usage["calls_without_buy_price"], Decimal(row["margin"])) == (0, Decimal(0))
    assert not [word for word in ("buy", "absorbed", "margin") if word in own]


def test_a_cursor_a_month_or_a_format_that_is_none_is_refused(gateway: Gateway) -> None:
    with gateway.caller(gateway.new_key()) as caller:
        refusals = [
            caller.get("/usage/calls", params={"after": "x"}),
            caller.get("/usage/calls", params={"month": "2026-13"}),
            caller.get("/usage/calls", headers={"accept": "image/png"}),
        ]
    assert [(answer.status_code, error_of(answer)["code"]) for answer in refusals] == [
        (400, "invalid_request_body"),
        (400, "invalid_request_body"),
        (406, "not_acceptable"),
    ]
