"""The walking skeleton: accounts, keys, prices, club, ledger, invoices, shares.

Revision 0001, the first. 2026-11-24 05:37:42.008594
"""

import sqlalchemy as sa
import sqlmodel
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("kind", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("currency", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("timezone", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("status", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("billing", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("monthly_cap", sa.Numeric(), nullable=True),
        sa.Column("prepaid_balance", sa.Numeric(), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_minute", sa.Integer(), nullable=True),
        sa.Column("concurrency", sa.Integer(), nullable=True),
        sa.Column("tax_country", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("tax_registration_number", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("owner_group", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("action", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("subject", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column(
            "change", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_audit_entry_subject"), "audit_entry", ["subject"], unique=False)
    op.create_table(
        "closed_month",
        sa.Column("month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("month"),
    )
    op.create_table(
        "fx_rate",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("pair", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("rate", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("day", "pair"),
    )
    op.create_table(
        "invoice_counter",
        sa.Column("year", sa.Integer(), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("year"),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("partition_month", sa.Integer(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("call_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("key_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("billing_month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("booked_month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("endpoint", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("model_asked", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("model", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("model_answered", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("card_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("input_price", sa.Numeric(), nullable=False),
        sa.Column("cached_input_price", sa.Numeric(), nullable=False),
        sa.Column("output_price", sa.Numeric(), nullable=False),
        sa.Column("standard_price", sa.Numeric(), nullable=False),
        sa.Column("enhanced_price", sa.Numeric(), nullable=False),
        sa.Column("discount", sa.Numeric(), nullable=False),
        sa.Column("discount_reason", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("standard_pages", sa.Integer(), nullable=False),
        sa.Column("enhanced_pages", sa.Integer(), nullable=False),
        sa.Column("granted_input_tokens", sa.Integer(), nullable=False),
        sa.Column("granted_cached_input_tokens", sa.Integer(), nullable=False),
        sa.Column("granted_output_tokens", sa.Integer(), nullable=False),
        sa.Column("list_cost", sa.Numeric(), nullable=False),
        sa.Column("cost", sa.Numeric(), nullable=False),
        sa.Column("estimated_reason", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("streamed", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("partition_month", "entry_id"),
        postgresql_partition_by="LIST (partition_month)",
    )
    op.create_index("ledger_entry_by_account", "ledger_entry", ["account_id", "accepted_at"], unique=False)
    op.create_index("ledger_entry_by_booking", "ledger_entry", ["booked_month", "account_id"], unique=False)
    op.create_index("ledger_entry_by_instant", "ledger_entry", ["accepted_at"], unique=False)
    op.create_table(
        "ledger_grant_use",
        sa.Column("grant_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("grant_id", "entry_id"),
    )
    op.create_table(
        "ledger_total",
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("billing_month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("key_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "billing_month", "key_id"),
    )
    op.create_table(
        "share_plan",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("effective_month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("pool_rate", sa.Numeric(), nullable=False),
        sa.Column("rule", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("minimum_payout", sa.Numeric(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_share_plan_effective_month"), "share_plan", ["effective_month"], unique=False)
    op.create_table(
        "training_manifest",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("model", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column(
            "datasets", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_training_manifest_model"), "training_manifest", ["model"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("prefix", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("secret_hash", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("tokens_per_minute", sa.Integer(), nullable=True),
        sa.Column("concurrency", sa.Integer(), nullable=True),
        sa.Column("monthly_cap", sa.Numeric(), nullable=True),
        sa.Column(
            "scopes", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("rotated_from", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("secret_hash"),
    )
    op.create_index(op.f("ix_api_key_account_id"), "api_key", ["account_id"], unique=False)
    op.create_table(
        "contribution",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("dataset", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("words", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("quality", sa.Numeric(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("withdraws", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["withdraws"],
            ["contribution.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_contribution_account_id"), "contribution", ["account_id"], unique=False)
    op.create_table(
        "invoice",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("number", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("status", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("currency", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("grants_used", sa.BigInteger(), nullable=False),
        sa.Column("subtotal", sa.Numeric(), nullable=False),
        sa.Column("tax", sa.Numeric(), nullable=False),
        sa.Column("tax_reason", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("total", sa.Numeric(), nullable=False),
        sa.Column("fx_rate", sa.Numeric(), nullable=True),
        sa.Column("fx_day", sa.Date(), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "month"),
        sa.UniqueConstraint("number"),
    )
    op.create_index("invoice_by_month", "invoice", ["month", "number"], unique=False)
    op.create_table(
        "rate_card",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("effective_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("club_discount", sa.Boolean(), nullable=False),
        sa.Column(
            "models", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_rate_card_account_id"), "rate_card", ["account_id"], unique=False)
    op.create_table(
        "share",
        sa.Column("month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("pool", sa.Numeric(), nullable=False),
        sa.Column("weight", sa.Numeric(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("carried_in", sa.Numeric(), nullable=False),
        sa.Column("carried_over", sa.Numeric(), nullable=False),
        sa.Column("payout", sa.Numeric(), nullable=False),
        sa.Column("currency", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("rule", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column(
            "steps", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("month", "account_id"),
    )
    op.create_index("share_by_account", "share", ["account_id", "month"], unique=False)
    op.create_table(
        "share_month",
        sa.Column("month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("plan_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("pool", sa.Numeric(), nullable=False),
        sa.Column("house", sa.Numeric(), nullable=False),
        sa.Column(
            "pools", sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql"), nullable=False
        ),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["share_plan.id"],
        ),
        sa.PrimaryKeyConstraint("month"),
    )
    op.create_table(
        "invoice_line",
        sa.Column("invoice_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("description", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("model", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("kind", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("unit_price", sa.Numeric(), nullable=False),
        sa.Column("discount", sa.Numeric(), nullable=False),
        sa.Column("exact_amount", sa.Numeric(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=False),
        sa.Column("exact_usd", sa.Numeric(), nullable=False),
        sa.Column("card_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("billing_month", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["invoice_id"],
            ["invoice.id"],
        ),
        sa.PrimaryKeyConstraint("invoice_id", "position"),
    )
    op.create_table(
        "token_grant",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("account_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("contribution_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["contribution_id"],
            ["contribution.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_token_grant_account_id"), "token_grant", ["account_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_token_grant_account_id"), table_name="token_grant")
    op.drop_table("token_grant")
    op.drop_table("invoice_line")
    op.drop_table("share_month")
    op.drop_index("share_by_account", table_name="share")
    op.drop_table("share")
    op.drop_index(op.f("ix_rate_card_account_id"), table_name="rate_card")
    op.drop_table("rate_card")
    op.drop_index("invoice_by_month", table_name="invoice")
    op.drop_table("invoice")
    op.drop_index(op.f("ix_contribution_account_id"), table_name="contribution")
    op.drop_table("contribution")
    op.drop_index(op.f("ix_api_key_account_id"), table_name="api_key")
    op.drop_table("api_key")
    op.drop_index(op.f("ix_training_manifest_model"), table_name="training_manifest")
    op.drop_table("training_manifest")
    op.drop_index(op.f("ix_share_plan_effective_month"), table_name="share_plan")
    op.drop_table("share_plan")
    op.drop_table("ledger_total")
    op.drop_table("ledger_grant_use")
    op.drop_index("ledger_entry_by_instant", table_name="ledger_entry")
    op.drop_index("ledger_entry_by_booking", table_name="ledger_entry")
    op.drop_index("ledger_entry_by_account", table_name="ledger_entry")
    op.drop_table("ledger_entry")
    op.drop_table("invoice_counter")
    op.drop_table("fx_rate")
    op.drop_table("closed_month")
    op.drop_index(op.f("ix_audit_entry_subject"), table_name="audit_entry")
    op.drop_table("audit_entry")
    op.drop_table("account")
