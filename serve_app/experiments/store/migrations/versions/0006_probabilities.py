"""Add the probabilities of the directions, and the bar of a prediction by symbol."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns; predictions that are stored already have no values there."""
    for direction in ("hold", "buy", "sell"):
        op.add_column("predictions", sa.Column(f"{direction}_probability", sa.Double))
    op.add_column("predictions", sa.Column("timeframe", sa.Text))
    op.add_column("predictions", sa.Column("bar_s", sa.Double))
