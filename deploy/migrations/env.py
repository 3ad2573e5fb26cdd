"""Alembic's environment: asynchronous, over the gateway's own engine; one migration at a time, by an advisory lock."""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

import billing.accounts.tables
import billing.club.tables
import billing.collect.tables
import billing.fx
import billing.invoice.tables
import billing.ledger.tables
import billing.payouts.tables
import billing.rate_cards
import billing.reconcile.tables
import billing.share.tables
import gateway.alerts.tables
import gateway.keys.tables
import gateway.operators.tables
from billing.database import open_engine

_MIGRATION_LOCK = 7_061_000


def _is_ours(name: str | None, kind: str, *_: object) -> bool:
    """The ledger's partitions come and go with the months; they are no part of the schema."""
    return not (kind == "table" and name is not None and name.startswith("ledger_entry_"))


def _run(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    connection.commit()
    try:
        context.configure(
            connection=connection, target_metadata=SQLModel.metadata, include_name=_is_ours, compare_type=True
        )
        with context.begin_transaction():
            context.run_migrations()
            for statement in context.config.attributes.get("afterwards", ()):
                connection.exec_driver_sql(statement)
    finally:
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _MIGRATION_LOCK})
        connection.commit()


async def _online() -> None:
    engine = open_engine(context.config.attributes["database_url"], connections_max=1)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run)
    finally:
        await engine.dispose()


asyncio.run(_online())
