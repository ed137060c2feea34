"""Which application carries an experiment through; several may share a database."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; experiments that are there belong to nobody in particular."""
    op.add_column("experiments", sa.Column("application", sa.Text))
