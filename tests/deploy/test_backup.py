"""Backup and restore as runbook.md says: a dump, an empty database, and the same money, proofs and rights; a gateway goes on with it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from sqlalchemy.engine import make_url

from billing.database import Sessions, open_engine, sessions_of
from billing.ledger.rollups import check_rollups
from gateway.migrate import migrate
from gateway.sandbox.postgres import binaries
from gateway.sandbox.prices import post_list_prices
from gateway.sandbox.stores import Stores
from tests.billing.months import MID_NOVEMBER, NOVEMBER, OCTOBER, book, call
from tests.deploy.files import DEPLOY
from tests.deploy.filled import facts_of, fill
from tests.deploy.roles import new_role
from tests.running import Gateway
from tests.waiting import wait_until

ASK = {"model": "solar-pro4", "max_tokens": 20, "messages": [{"role": "user", "content": "안녕?"}]}


async def ran(program: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(str(binaries() / program), *arguments)
    assert await process.wait() == 0, program


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
async def restored(database_url: str, sessions: Sessions, tmp_path: Path) -> str:
    """The address of a database restored from a dump of a filled one."""
    async with sessions.begin() as session:
        await post_list_prices(session, MID_NOVEMBER)
    await fill(sessions)
    await new_role(database_url)
    dump = tmp_path / "solar.dump"
    await ran("pg_dump", "-Fc", "-f", str(dump), plain(database_url))
    name = f"{make_url(database_url).database}_restored"
    connection = await asyncpg.connect(plain(database_url))
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()
    url = make_url(database_url).set(database=name).render_as_string(hide_password=False)
    await ran("pg_restore", "--exit-on-error", "-d", plain(url), str(dump))
    return url


async def test_a_restored_database_has_the_same_money_and_its_proofs_hold(database_url: str, restored: str) -> None:
    before, after = await facts_of(database_url), await facts_of(restored)
    assert after == before
    assert len(after.roots) == 3
    await asyncio.to_thread(migrate, restored)
    assert await facts_of(restored) == before


async def test_a_restored_database_is_gone_on_with_under_the_gateways_role(restored: str) -> None:
    engine = open_engine(await new_role(restored), connections_max=2)
    app = sessions_of(engine)
    before = await facts_of(restored)
    assert await book(app, call(before.roots[0][0], at=MID_NOVEMBER), at=MID_NOVEMBER) == 1
    async with app() as session:
        for month in (OCTOBER, NOVEMBER):
            assert not any(vars_of(await check_rollups(session, month)))
    await engine.dispose()
    after = await facts_of(restored)
    assert after.sums[0][0] == before.sums[0][0] + 1


@pytest.fixture
async def served(
    restored: str, gateway: Gateway, redis: Redis, stores: Stores, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """A gateway on the restored database, in the middle of November, with a Redis that knows nothing."""
    ahead = MID_NOVEMBER - datetime.now(UTC)
    environment = {
        "GATEWAY_DATABASE_URL": await new_role(restored),
        "GATEWAY_CLOCK_OFFSET_NS": str(ahead // timedelta(microseconds=1) * 1000),
    }
    assert await redis.dbsize() == 0
    with Gateway.beside(gateway, stores.redis_url, tmp_path / "served", workers=1, environment=environment) as running:
        yield running


async def test_a_gateway_serves_the_restored_database_and_rebuilds_its_counters_from_the_ledger(
    restored: str, served: Gateway
) -> None:
    before = await facts_of(restored)
    [payer] = [account for account, month, _ in before.roots if month == "2026-11"]
    booked = await of_november(restored, payer)
    with served.caller(served.key(payer)) as caller:
        # Before any call: Redis knows nothing but what the ledger says.
        told = caller.get("/account").json()["month_to_date"]
        assert (Fraction(told["cost"]), Fraction(told["held"])) == (booked[1], Fraction(0))
        october = caller.get("/usage", params={"from": "2026-10-01", "to": "2026-11-01"}).json()
        assert (october["complete"], october["total"]["calls"]) == (True, 30)
        [invoice] = caller.get("/invoices").json()["data"]
        assert invoice["month"] == "2026-10"
        answer = caller.post("/chat/completions", json=ASK)
        assert answer.is_success, answer.text
        cost = Fraction(answer.headers["x-solar-cost"])
        wait_until(lambda: caller.get("/usage").json()["complete"], 30, "the call is in the ledger")
        told = caller.get("/account").json()["month_to_date"]
        assert booked[1] + cost <= Fraction(told["cost"]) < booked[1] + cost + Fraction(1, 10**9)
    assert await of_november(restored, payer) == (booked[0] + 1, booked[1] + cost)
    partner = next(account for account, _, _ in before.roots if account != payer)
    with served.caller(served.key(partner)) as caller:
        assert caller.get("/account").json()["grant_tokens_left"] == 150_000_000
    for month in ("2026-10", "2026-11"):
        assert served.operator.get(f"/ledger/months/{month}/rollups").json()["agree"] is True
    after = await facts_of(restored)  # each root reckoned anew from its entries
    assert [root for root in after.roots if root[1] == "2026-10"] == [r for r in before.roots if r[1] == "2026-10"]
    assert after.sums[3:5] == before.sums[3:5]  # the invoices


async def of_november(url: str, account_id: str) -> tuple[int, Fraction]:
    """Calls and cost of an account's November, straight from its entries."""
    connection = await asyncpg.connect(plain(url))
    try:
        query = "SELECT count(*), sum(cost) FROM ledger_entry WHERE account_id = $1 AND billing_month = '2026-11'"
        [(calls, cost)] = await connection.fetch(query, account_id)
    finally:
        await connection.close()
    return calls, Fraction(cost)


def vars_of(differences: object) -> list[int]:
    return [getattr(differences, name) for name in differences.__slots__]  # type: ignore[attr-defined]


def test_the_runbook_names_the_commands_that_were_tried() -> None:
    text = (DEPLOY / "runbook.md").read_text()
    assert re.search(r"pg_dump -Fc", text)
    assert re.search(r"pg_restore --exit-on-error", text)
