"""Record the application that an experiment belongs to; several may share a database."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; existing experiments belong to no application in particular."""
    op.add_column("experiments", sa.Column("application", sa.Text))
