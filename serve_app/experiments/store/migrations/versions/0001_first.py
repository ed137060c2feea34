"""Create experiments, their history, predictions, outcomes, and summaries per block of time."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "experiments",
        sa.Column("experiment_id", sa.Text, primary_key=True),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("started_s", sa.Double, nullable=False),
        sa.Column("ended_s", sa.Double),
        sa.Column("end_reason", sa.Text),
        sa.Column("final_report", sa.Text),
    )
    op.create_table(
        "experiment_history",
        sa.Column("experiment_id", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("time_s", sa.Double, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
    )
    op.create_table(
        "predictions",
        sa.Column("prediction_id", sa.Text, primary_key=True),
        sa.Column("variant", sa.Text, primary_key=True),
        sa.Column("experiment_id", sa.Text),
        sa.Column("time_s", sa.Double, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("direction", sa.SmallInteger),
        sa.Column("confidence", sa.Double),
        sa.Column("expected_return", sa.Double),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("treatment_share", sa.Double),
        sa.Column("mirrored", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("predictions_by_time", "predictions", ["time_s", "prediction_id", "variant"])
    op.create_table(
        "outcomes",
        sa.Column("prediction_id", sa.Text, primary_key=True),
        sa.Column("market_return", sa.Double, nullable=False),
        sa.Column("received_s", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "summaries",
        sa.Column("experiment_id", sa.Text, primary_key=True),
        sa.Column("block", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("variant", sa.Text, primary_key=True),
        sa.Column("summary", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table("retention", sa.Column("before_s", sa.Double, primary_key=True))
