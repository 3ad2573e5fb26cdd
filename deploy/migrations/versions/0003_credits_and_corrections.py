"""Credit notes; contributions corrected and grants ended by linked entries; an invoice keeps who it was for and from.

Expand only: every new column may be empty, and what runs before it does not miss them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("invoice", sa.Column("payer_name", sa.String(), nullable=True))
    op.add_column("invoice", sa.Column("tax_country", sa.String(), nullable=True))
    op.add_column("invoice", sa.Column("tax_registration_number", sa.String(), nullable=True))
    op.add_column("invoice", sa.Column("seller", postgresql.JSONB(), nullable=True))
    # What an invoice was issued with stands on it from now on; for those that stand already its own tax line tells the country.
    op.execute(
        "UPDATE invoice SET payer_name = account.name, tax_registration_number = account.tax_registration_number,"
        " tax_country = CASE WHEN tax_reason IS NULL THEN NULL WHEN tax_reason LIKE 'VAT 10%' THEN 'KR'"
        " ELSE account.tax_country END FROM account WHERE account.id = invoice.account_id"
    )
    op.create_table(
        "credit_note",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("booked_month", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("subtotal", sa.Numeric(), nullable=False),
        sa.Column("tax", sa.Numeric(), nullable=False),
        sa.Column("tax_reason", sa.String(), nullable=True),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"]),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("number"),
    )
    op.create_index("credit_note_by_month", "credit_note", ["booked_month", "number"])
    op.create_index(op.f("ix_credit_note_invoice_id"), "credit_note", ["invoice_id"])
    op.create_table(
        "credit_note_line",
        sa.Column("credit_note_id", sa.String(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("exact_usd", sa.Numeric(), nullable=False),
        sa.ForeignKeyConstraint(["credit_note_id"], ["credit_note.id"]),
        sa.PrimaryKeyConstraint("credit_note_id", "line"),
    )
    op.create_table(
        "credit_note_counter",
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("year"),
    )
    op.add_column("contribution", sa.Column("corrects", sa.String(), nullable=True))
    op.create_foreign_key("contribution_corrects_fkey", "contribution", "contribution", ["corrects"], ["id"])
    op.create_unique_constraint("contribution_corrects_key", "contribution", ["corrects"])
    op.create_unique_constraint("contribution_withdraws_key", "contribution", ["withdraws"])
    op.add_column("token_grant", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("token_grant", "ended_at")
    op.drop_constraint("contribution_withdraws_key", "contribution", type_="unique")
    op.drop_constraint("contribution_corrects_key", "contribution", type_="unique")
    op.drop_constraint("contribution_corrects_fkey", "contribution", type_="foreignkey")
    op.drop_column("contribution", "corrects")
    op.drop_table("credit_note_counter")
    op.drop_table("credit_note_line")
    op.drop_table("credit_note")
    op.drop_column("invoice", "seller")
    op.drop_column("invoice", "tax_registration_number")
    op.drop_column("invoice", "tax_country")
    op.drop_column("invoice", "payer_name")
