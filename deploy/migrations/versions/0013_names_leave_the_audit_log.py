"""Names leave the audit log: from now on it says that they changed, not to what.

Revision 0013.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        UPDATE audit_entry SET change = change - ARRAY['name', 'tax_registration_number', 'tax_details', 'alert_webhook_url']
        WHERE action IN ('account.create', 'account.change', 'key.create', 'key.change')"""
    )


def downgrade() -> None:
    """What was taken away does not come back."""
