"""The revenue share: rules with a cap; what a statement's plan said; payees, holds and payouts.

Revision 0004.
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("share_plan", sa.Column("payer_cap", sa.Numeric(), nullable=True))
    document = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")
    op.add_column("share", sa.Column("terms", document, nullable=False, server_default=sa.text("'{}'")))
    op.create_table(
        "payee",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("kind", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("country", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("legal_name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("registration_number", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("currency", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("destination", document, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_payee_account_id"), "payee", ["account_id"], unique=False)
    op.create_table(
        "payout_hold",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("reason", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("release_reason", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_payout_hold_account_id"), "payout_hold", ["account_id"], unique=False)
    op.create_table(
        "payout",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("payee_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("usd", sa.Numeric(), nullable=False),
        sa.Column("currency", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("fx_rate", sa.Numeric(), nullable=True),
        sa.Column("fx_day", sa.Date(), nullable=True),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("vat", sa.Numeric(), nullable=False),
        sa.Column("withheld", sa.Numeric(), nullable=False),
        sa.Column("payable", sa.Numeric(), nullable=False),
        sa.Column("tax_paper", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("withholding", document, nullable=False),
        sa.Column("reverses", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("reason", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["payee_id"], ["payee.id"]),
        sa.ForeignKeyConstraint(["reverses"], ["payout.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("reverses"),
    )
    op.create_index(op.f("ix_payout_account_id"), "payout", ["account_id"], unique=False)
    op.create_index("payout_by_statement", "payout", ["month", "account_id"], unique=False)


def downgrade() -> None:
    op.drop_table("payout")
    op.drop_table("payout_hold")
    op.drop_table("payee")
    op.drop_column("share", "terms")
    op.drop_column("share_plan", "payer_cap")
