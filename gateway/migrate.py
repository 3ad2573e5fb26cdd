"""Brings the database to the newest schema. Safe to repeat, and safe to race: an advisory lock lets one at a time.

The migrations lie in deploy/migrations (in an installed wheel: gateway/migrations).
Errors: what SQLAlchemy and Alembic raise.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

_HERE = Path(__file__).parent
_PLACES = (_HERE / "migrations", _HERE.parent / "deploy" / "migrations")


def configuration(database_url: str) -> Config:
    """Alembic's configuration for a database."""
    config = Config()
    config.set_main_option("script_location", str(next(place for place in _PLACES if (place / "env.py").exists())))
    config.attributes["database_url"] = database_url
    return config


def migrate(database_url: str) -> None:
    """To the newest schema. Runs an event loop of its own: call it from a thread if one is running."""
    command.upgrade(configuration(database_url), "head")
