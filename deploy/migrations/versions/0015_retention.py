"""What was detached of a month, and what came for it later.

Revision 0015.
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


# They run as the ledger's owner, for the application's role owns nothing; who may detach may read what was detached.
_DETACH = """
CREATE FUNCTION ledger_detach(month integer, wait_s integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    name text := 'ledger_entry_' || lpad(month::text, 6, '0');
BEGIN
    PERFORM set_config('lock_timeout', wait_s || 's', true);
    EXECUTE format('ALTER TABLE ledger_entry DETACH PARTITION %I', name);
    EXECUTE format('GRANT SELECT ON %I TO %I', name, session_user);
END $$"""
_ATTACH = """
CREATE FUNCTION ledger_attach(month integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    EXECUTE format(
        'ALTER TABLE ledger_entry ATTACH PARTITION %I FOR VALUES IN (%s)', 'ledger_entry_' || lpad(month::text, 6, '0'), month
    );
    IF session_user <> current_user THEN
        EXECUTE format('REVOKE ALL ON %I FROM %I', 'ledger_entry_' || lpad(month::text, 6, '0'), session_user);
    END IF;
END $$"""


def _document(name: str, **options: object) -> sa.Column:  # type: ignore[type-arg]
    kind = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    return sa.Column(name, kind, nullable=False, **options)  # type: ignore[arg-type]


def upgrade() -> None:
    op.add_column("detached_month", sa.Column("attached_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("detached_month", sa.Column("entries", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("detached_month", sa.Column("cost", sa.Numeric(), server_default="0", nullable=False))
    op.add_column("detached_month", _document("booked", server_default="{}"))
    op.create_table(
        "late_record",
        sa.Column("partition_month", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("record", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        _document("grants"),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("appended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("partition_month", "call_id"),
    )
    for function in (_DETACH, _ATTACH):
        op.execute(function)
    op.execute("REVOKE ALL ON FUNCTION ledger_detach(integer, integer), ledger_attach(integer) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION ledger_detach(integer, integer)")
    op.execute("DROP FUNCTION ledger_attach(integer)")
    op.drop_table("late_record")
    for name in ("booked", "cost", "entries", "attached_at"):
        op.drop_column("detached_month", name)
