"""Personal data: taken away by command, kept where the law says so; the whole database is searched afterwards."""

from __future__ import annotations

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from billing.database import open_engine, sessions_of
from billing.invoice.store import erase_parties
from billing.payouts.store import erase_payees
from gateway.sandbox.postgres import binaries
from tests.billing.months import book, call
from tests.running import Gateway, command
from tests.waiting import wait_until

OCTOBER = "2026-11-02T00:00:00Z"
TAX = {"country": "KR", "registration_number": "220-81-62517", "representative": "홍길동", "address": "서울 마포구"}
BANK = {"kind": "bank", "bank": "088", "number": "110-222-333444", "holder": "홍길동"}
PLANTED = (
    "홍길동",
    "한빛상사",
    "220-81-62517",
    "2208162517",
    "마포구",
    "110-222-333444",
    "hook.example",
    "gildong's laptop",
)
ON_PAPER = {"홍길동", "한빛상사", "220-81-62517", "마포구"}


def found_in(gateway: Gateway) -> set[str]:
    """Which of the planted words stand anywhere in the database, by a dump of all of it."""
    url = make_url(gateway.addresses["database_url"]).set(drivername="postgresql").render_as_string(hide_password=False)
    dump = subprocess.run([str(binaries() / "pg_dump"), url], capture_output=True, text=True, check=True, timeout=60)
    return {word for word in PLANTED if word in dump.stdout}


async def eleven_years_later(gateway: Gateway, account_id: str) -> None:
    """What a later erasure takes, when nothing must be kept any more."""
    engine = open_engine(gateway.addresses["database_url"], connections_max=2)
    async with sessions_of(engine).begin() as session:
        kept_from = datetime(2026 + 11, 11, 2, tzinfo=UTC) - timedelta(days=366 * 10)
        assert await erase_parties(session, account_id, kept_from) == (0, None)
        assert await erase_payees(session, account_id, kept_from) is None
    await engine.dispose()


async def use(gateway: Gateway, account_id: str) -> None:
    engine = open_engine(gateway.addresses["database_url"], connections_max=2)
    await book(sessions_of(engine), call(account_id, (9_000_000, 0, 4_000_000, 0, 0)))
    await engine.dispose()


def settled_down(gateway: Gateway, account_id: str) -> Any:
    """The answer of an erasure, once the drain has nothing left."""

    def answered() -> Any:
        answer = gateway.operator.post(f"/accounts/{account_id}/erase")
        return None if answer.status_code == 409 and "ledger_behind" in answer.text else answer

    return wait_until(answered, 20, "the ledger holds every call")


def by_command(gateway: Gateway, account_id: str) -> subprocess.CompletedProcess[str]:
    """As an operator types it."""
    return subprocess.run(
        [*command(), "accounts", "erase", account_id, "--url", gateway.url, "--json", "--yes"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"GATEWAY_OPERATOR_TOKEN": gateway.operator_token},
    )


def refused(answer: Any) -> Any:
    assert answer.status_code == 409, answer.text
    return answer.json()["error"]["code"]


async def test_a_closed_accounts_data_go_and_what_the_law_keeps_is_named_and_goes_when_its_time_is_over(
    tmp_path: Path,
) -> None:
    environment = {"GATEWAY_MONTH_GRACE_S": "0", "GATEWAY_ALERT_PRIVATE_ADDRESSES": "allow"}
    with Gateway.started(tmp_path, environment={**environment, "GATEWAY_SANDBOX_CLOCK": OCTOBER}) as gateway:
        account = gateway.account(name="한빛상사", tax=TAX, alert_webhook_url="https://hook.example/x")["id"]
        gateway.operator.patch(f"/accounts/{account}", json={"name": "한빛상사 (주)"})
        gateway.key(account, name="gildong's laptop")
        gateway.post(f"/accounts/{account}/contributions", {"dataset": "d", "words": 1, "tokens": 1, "note": "홍길동"})
        payee = {"kind": "individual", "country": "KR", "legal_name": "홍길동", "currency": "KRW", "destination": BANK}
        gateway.post(f"/accounts/{account}/payee", payee)
        await use(gateway, account)
        assert refused(await asyncio.to_thread(settled_down, gateway, account)) == "account_open"
        gateway.operator.patch(f"/accounts/{account}", json={"status": "closed"})
        assert refused(await asyncio.to_thread(settled_down, gateway, account)) == "month_open"
        assert found_in(gateway) >= {"홍길동", "한빛상사", "110-222-333444", "hook.example", "gildong's laptop"}
        gateway.post("/months/2026-10/close", {})
        done = await asyncio.to_thread(settled_down, gateway, account)
        assert done.json()["invoices_kept"] == 1
        assert [one["what"] for one in done.json()["kept"]] == ["invoices"]
        assert found_in(gateway) == ON_PAPER
        (invoice,) = gateway.operator.get("/invoices", params={"account": account}).json()["data"]
        printed = gateway.operator.get(f"/invoices/{invoice['id']}", headers={"accept": "application/json"}).text
        assert "한빛상사" in printed
        erased = await asyncio.to_thread(by_command, gateway, account)
        assert erased.returncode == 0, erased.stderr
        await eleven_years_later(gateway, account)
        assert found_in(gateway) == set()
        (after,) = gateway.operator.get("/invoices", params={"account": account}).json()["data"]
        assert {name: after[name] for name in ("number", "total")} == {
            name: invoice[name] for name in ("number", "total")
        }
