"""Units of experiments by bot or symbol: whose a prediction is, and sums by unit."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add column and table.

    Which bots the predictions of experiments by unit_id were for is not known; they get one that
    is nobody's, and count in no sums by unit. In an experiment
    by symbol that runs through it a symbol is counted from the first prediction afterwards. An
    outcome of an older prediction counts in the sums by unit if it comes after that one, else not.
    """
    op.add_column("predictions", sa.Column("unit_id", sa.Text))
    op.execute(
        sa.text(
            "UPDATE predictions SET unit_id = '' WHERE experiment_id IN (SELECT experiment_id "
            "FROM experiments WHERE definition LIKE :by_unit)"
        ).bindparams(by_unit='%"assignment":"unit_id"%')
    )
    op.create_table(
        "unit_sums",
        sa.Column("experiment_id", sa.Text, primary_key=True),
        sa.Column("unit", sa.Text, primary_key=True),
        sa.Column("variant", sa.Text, primary_key=True),
        sa.Column("labelled", sa.Double, nullable=False),
        sa.Column("correct", sa.Double, nullable=False),
        sa.Column("return_sum", sa.Double, nullable=False),
        sa.Column("return_square_sum", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
