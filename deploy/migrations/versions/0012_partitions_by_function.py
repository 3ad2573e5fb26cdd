"""A function makes a month's partition, so that the application's role need not own the ledger.

Revision 0012.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# It runs as its owner; the search path is its own, and temporary tables of the caller come last.
_FUNCTION = """
CREATE FUNCTION ledger_partition(month integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    name text := 'ledger_entry_' || lpad(month::text, 6, '0');
BEGIN
    IF month NOT BETWEEN 190001 AND 999912 OR month % 100 NOT BETWEEN 1 AND 12 THEN
        RAISE EXCEPTION 'no month: %', month;
    END IF;
    IF to_regclass(name) IS NULL THEN
        PERFORM pg_advisory_xact_lock(7061002);
        EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF ledger_entry FOR VALUES IN (%s)', name, month);
    END IF;
END $$"""


def upgrade() -> None:
    op.execute(_FUNCTION)
    op.execute("REVOKE ALL ON FUNCTION ledger_partition(integer) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION ledger_partition(integer)")
