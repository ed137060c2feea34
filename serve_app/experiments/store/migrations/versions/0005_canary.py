"""Add the table of the canary, whose commits show that the database can be written."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table."""
    op.create_table("canary", sa.Column("written_s", sa.Double, primary_key=True))
