"""Entries say what upstream took, what was absorbed and which entry they reverse; rollups; proofs; detached months.

Entries of before have place 0: they are in no proof.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TEXT = sqlmodel.sql.sqltypes.AutoString
_COUNTS = ("input_tokens", "cached_input_tokens", "output_tokens", "standard_pages", "enhanced_pages")
_GRANTED = ("granted_input_tokens", "granted_cached_input_tokens", "granted_output_tokens")
_ABSORBED = tuple(f"absorbed_{name}" for name in _COUNTS)
_CALLS = {
    "calls": "count(*)",
    "estimated_calls": "count(estimated_reason)",
    "calls_without_buy_price": "count(*) - count(buy_cost)",
}
_COSTS = ("list_cost", "cost", "buy_cost", "absorbed_buy_cost")
_MEASURES = (*_CALLS, *_COUNTS, *_GRANTED, *_ABSORBED, *_COSTS)
_DAY_TEXTS = ("account_id", "booked_month", "billing_month", "zone", "key_id", "model", "card_id")
_DAY_PRICES = (
    "discount",
    "input_price",
    "cached_input_price",
    "output_price",
    "standard_price",
    "enhanced_price",
)
_DAY_KEY = ("account_id", "day", *_DAY_TEXTS[1:], *_DAY_PRICES)


def upgrade() -> None:
    op.add_column("ledger_entry", sa.Column("reverses", sa.Uuid(), nullable=True))
    for name in _ABSORBED:
        op.add_column("ledger_entry", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    op.add_column("ledger_entry", sa.Column("absorbed_reason", _TEXT(), nullable=True))
    op.add_column("ledger_entry", sa.Column("buy_cost", sa.Numeric(), nullable=True))
    op.add_column("ledger_entry", sa.Column("absorbed_buy_cost", sa.Numeric(), nullable=True))
    _say_the_day()
    op.drop_index("ledger_entry_by_booking", table_name="ledger_entry")
    op.drop_index("ledger_entry_by_account", table_name="ledger_entry")
    op.drop_index("ledger_entry_by_instant", table_name="ledger_entry")
    op.create_index("ledger_entry_by_instant", "ledger_entry", ["accepted_at"], postgresql_using="brin")
    op.create_table(
        "ledger_day",
        *_measures(),
        *(sa.Column(name, _TEXT(), nullable=False) for name in _DAY_TEXTS),
        sa.Column("day", sa.Date(), nullable=False),
        *(sa.Column(name, sa.Numeric(), nullable=False) for name in _DAY_PRICES),
        sa.PrimaryKeyConstraint(*_DAY_KEY),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ledger_day_by_booking", "ledger_day", ["booked_month", "account_id"])
    op.create_index("ledger_day_by_day", "ledger_day", ["day"])
    op.create_table(
        "ledger_slot",
        *_measures(),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("model", _TEXT(), nullable=False),
        sa.PrimaryKeyConstraint("slot", "model"),
        postgresql_with={"fillfactor": 70},
    )
    op.add_column("ledger_entry", sa.Column("place", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("ledger_entry_by_booking", "ledger_entry", ["account_id", "booked_month", "place"])
    op.create_table(
        "ledger_proof",
        sa.Column("account_id", _TEXT(), nullable=False),
        sa.Column("booked_month", _TEXT(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "booked_month"),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "detached_month",
        sa.Column("partition_month", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("detached_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition_month"),
    )
    op.add_column("invoice", sa.Column("proof_root", _TEXT(), nullable=True))
    _sum_up("ledger_day", dict(zip(_DAY_KEY, _DAY_KEY, strict=True)))
    _sum_up("ledger_slot", {"slot": "date_bin('15 minutes', accepted_at, '2000-01-01Z')", "model": "model"})


def downgrade() -> None:
    op.drop_column("invoice", "proof_root")
    op.drop_table("detached_month")
    op.drop_table("ledger_proof")
    op.drop_table("ledger_slot")
    op.drop_table("ledger_day")
    op.drop_index("ledger_entry_by_instant", table_name="ledger_entry")
    op.drop_index("ledger_entry_by_booking", table_name="ledger_entry")
    op.create_index("ledger_entry_by_account", "ledger_entry", ["account_id", "accepted_at"])
    op.create_index("ledger_entry_by_booking", "ledger_entry", ["booked_month", "account_id"])
    op.create_index("ledger_entry_by_instant", "ledger_entry", ["accepted_at"])
    for name in ("place", "zone", "day", "absorbed_buy_cost", "buy_cost", "absorbed_reason", *_ABSORBED, "reverses"):
        op.drop_column("ledger_entry", name)


def _say_the_day() -> None:
    """Entries of before get the day and zone of their account."""
    op.add_column("ledger_entry", sa.Column("day", sa.Date(), nullable=True))
    op.add_column("ledger_entry", sa.Column("zone", _TEXT(), nullable=True))
    op.execute(
        "UPDATE ledger_entry SET zone = coalesce((SELECT timezone FROM account WHERE id = account_id), 'Asia/Seoul')"
    )
    op.execute("UPDATE ledger_entry SET day = (accepted_at AT TIME ZONE zone)::date")
    op.alter_column("ledger_entry", "day", nullable=False)
    op.alter_column("ledger_entry", "zone", nullable=False)


def _measures() -> list[sa.Column[object]]:
    whole = [sa.Column(name, sa.BigInteger(), nullable=False) for name in _MEASURES if name not in _COSTS]
    return [*whole, *(sa.Column(name, sa.Numeric(), nullable=False) for name in _COSTS)]


def _sum_up(table: str, key: dict[str, str]) -> None:
    """The rollup of the entries that are there already (no reversals among them: nothing wrote any)."""
    sums = [_CALLS.get(name, f"coalesce(sum({name}), 0)") for name in _MEASURES]
    columns, values = ", ".join([*key, *_MEASURES]), ", ".join([*key.values(), *sums])
    op.execute(f"INSERT INTO {table} ({columns}) SELECT {values} FROM ledger_entry GROUP BY {', '.join(key.values())}")  # noqa: S608
