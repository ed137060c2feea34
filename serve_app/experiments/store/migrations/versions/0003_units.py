"""Record the unit of each prediction, and sums per unit, for experiments by bot or symbol."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column `unit_id` and the table `unit_sums`.

    The bots of existing predictions in experiments by unit_id are unknown: these predictions get
    the empty unit_id, which belongs to no bot and is not counted in the sums per unit. In a running
    experiment by symbol, a symbol is counted from its first prediction after this migration; an
    outcome of an older prediction is counted in the sums per unit only if it arrives after that.
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
