"""Backup and restore as runbook.md says: a dump, an empty database, and the same money, proofs and rights; a gateway goes on with it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from billing.database import Sessions, open_engine, sessions_of
from billing.ledger.rollups import check_rollups
from gateway.migrate import migrate
from gateway.sandbox.postgres import binaries
from tests.billing.months import MID_NOVEMBER, NOVEMBER, OCTOBER, book, call
from tests.deploy.files import DEPLOY
from tests.deploy.filled import facts_of, fill
from tests.deploy.roles import new_role


async def ran(program: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(str(binaries() / program), *arguments)
    assert await process.wait() == 0, program


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
async def restored(database_url: str, sessions: Sessions, tmp_path: Path) -> str:
    """The address of a database restored from a dump of a filled one."""
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


def vars_of(differences: object) -> list[int]:
    return [getattr(differences, name) for name in differences.__slots__]  # type: ignore[attr-defined]


def test_the_runbook_names_the_commands_that_were_tried() -> None:
    text = (DEPLOY / "runbook.md").read_text()
    assert re.search(r"pg_dump -Fc", text)
    assert re.search(r"pg_restore --exit-on-error", text)
