"""Brings the database to the newest schema. Safe to repeat, and safe to race: an advisory lock lets one at a time.

The migrations lie in deploy/migrations (in an installed wheel: gateway/migrations). Who migrates owns the tables; the gateway may be
given a role that does not (`app_role`), and then cannot change what it has written: of the ledger and the audit log it may read and
append, nothing more; it deletes nothing but what it is done with, and makes a month's partition by a function that runs as the owner.
Errors: what SQLAlchemy and Alembic raise.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

_HERE = Path(__file__).parent
_PLACES = (_HERE / "migrations", _HERE.parent / "deploy" / "migrations")

APPEND_ONLY = (
    "ledger_entry",
    "ledger_grant_use",
    "audit_entry",
    "invoice_line",
    "credit_note_line",
    "closed_month",
    "lost_attempt",
)
"""What the application may add to and never change. Their partitions it reaches only through them."""

MAY_DELETE = ("stripe_event",)
"""What it throws away by itself, once it is old: what Stripe sent, and what was done with it."""

_GRANTS = """
DO $grants$
DECLARE
    of record;
    role text := '{role}';
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        RAISE EXCEPTION 'GATEWAY_APP_ROLE: there is no database role %', role;
    ELSIF role = current_user THEN
        RAISE EXCEPTION 'GATEWAY_APP_ROLE: % owns the tables; the application needs a role of its own', role;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', role);
    FOR of IN
        SELECT relname AS name, relispartition AS is_part FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM %I', of.name, role);
        IF of.is_part THEN
            CONTINUE;
        ELSIF of.name = 'alembic_version' OR of.name ~ '^ledger_entry_[0-9]{6}$' THEN  -- a detached month
            EXECUTE format('GRANT SELECT ON %I TO %I', of.name, role);
        ELSIF of.name = ANY (ARRAY[{append_only}]) THEN
            EXECUTE format('GRANT SELECT, INSERT ON %I TO %I', of.name, role);
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO %I', of.name, role);
        END IF;
        IF of.name = ANY (ARRAY[{may_delete}]) THEN
            EXECUTE format('GRANT DELETE ON %I TO %I', of.name, role);
        END IF;
    END LOOP;
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION ledger_partition(integer) TO %I', role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION ledger_detach(integer, integer), ledger_attach(integer) TO %I', role);
END $grants$"""


def grants(role: str) -> str:
    """What gives a role no more than the application needs; run again with each migration, so that new tables are in it."""
    append_only, may_delete = (", ".join(f"'{name}'" for name in names) for names in (APPEND_ONLY, MAY_DELETE))
    grants = _GRANTS.replace("{append_only}", append_only).replace("{may_delete}", may_delete)
    return grants.replace("{role}", role.replace("'", "''"))


def configuration(database_url: str) -> Config:
    """Alembic's configuration for a database."""
    config = Config()
    config.set_main_option("script_location", str(next(place for place in _PLACES if (place / "env.py").exists())))
    config.attributes["database_url"] = database_url
    return config


def migrate(database_url: str, *, app_role: str | None = None) -> None:
    """To the newest schema. Runs an event loop of its own: call it from a thread if one is running."""
    config = configuration(database_url)
    config.attributes["afterwards"] = () if app_role is None else (grants(app_role),)
    command.upgrade(config, "head")


def lacking(revision: str | None) -> str | None:
    """The revision that a schema would have to have for this version, where it is older than that. A newer one, which this version does
    not know, is not lacking: migrations expand, so that the version before goes on beside the one that migrated.
    """
    script = ScriptDirectory.from_config(configuration("postgresql://nowhere"))
    needed, known = script.get_current_head(), {step.revision for step in script.walk_revisions()}
    return needed if revision != needed and (revision is None or revision in known) else None
