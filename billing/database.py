"""The one door to Postgres: engine, sessions, column types.

Owns nothing but the connection. Instants are aware (UTC), money columns are NUMERIC without a scale, so that no digit is lost.
Errors: what SQLAlchemy raises; parameters never appear in its messages (`hide_parameters`).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, TypeAlias

from sqlalchemy import ARRAY, JSON, DateTime, Numeric, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

StorageError = SQLAlchemyError
"""Whatever Postgres or the way to it raises."""

INSTANT = DateTime(timezone=True)
MONEY = Numeric(asdecimal=True)
MONEYS = ARRAY(MONEY)
DOCUMENT = JSON().with_variant(JSONB(), "postgresql")

Session: TypeAlias = AsyncSession
Sessions: TypeAlias = async_sessionmaker[AsyncSession]


def open_engine(
    url: str, *, connections_max: int = 10, connect_timeout_s: int = 5, statement_timeout_s: int = 60
) -> AsyncEngine:
    """An engine whose every wait is bounded. `url` is `postgresql+asyncpg://…` (a plain `postgresql://` is accepted).

    TLS as libpq writes it: `?sslmode=verify-full&sslrootcert=/path/to/ca.pem`.
    """
    if url.startswith(("postgresql://", "postgres://")):
        url = "postgresql+asyncpg://" + url.split("://", 1)[1]
    arguments: Mapping[str, Any] = {
        "timeout": connect_timeout_s,
        "command_timeout": statement_timeout_s,
        "server_settings": {"application_name": "solar-gateway", "timezone": "UTC"},
    }
    url, tls = _tls_of(url)
    return create_async_engine(
        url,
        pool_size=connections_max,
        max_overflow=0,
        pool_timeout=connect_timeout_s,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={**arguments, **tls},
    )


def _tls_of(url: str) -> tuple[str, dict[str, Any]]:
    """(the address without libpq's words about TLS, these as asyncpg takes them)."""
    parsed = make_url(url)
    mode, authority = parsed.query.get("sslmode"), parsed.query.get("sslrootcert")
    if mode is None and authority is None:
        return url, {}
    bare = parsed.difference_update_query(["sslmode", "sslrootcert"]).render_as_string(hide_password=False)
    if mode not in ("verify-ca", "verify-full") and (authority is None or mode in ("disable", "allow", "prefer")):
        return bare, {"ssl": mode}
    context = ssl.create_default_context(cafile=None if authority is None else str(authority))
    context.check_hostname = mode == "verify-full"
    return bare, {"ssl": context}


def sessions_of(engine: AsyncEngine) -> Sessions:
    """A maker of sessions: one session is one transaction."""
    return async_sessionmaker(engine, expire_on_commit=False)


async def answers(sessions: Sessions) -> bool:
    """Does the database answer?"""
    try:
        async with sessions() as session:
            await session.execute(text("SELECT 1"))
    except (StorageError, OSError):
        return False
    return True


async def revision_of(sessions: Sessions) -> str | None:
    """The revision of the schema; none where there is no schema at all. Raises what SQLAlchemy and asyncpg do where nobody answers."""
    async with sessions() as session:
        if await session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return None
        revision: str | None = await session.scalar(text("SELECT version_num FROM alembic_version"))
        return revision
