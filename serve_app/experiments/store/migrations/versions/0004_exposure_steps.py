"""Exposure steps: new names of two fields of the stored definitions."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

RENAMED = {"exposure_stages": "exposure_steps", "stage_hours": "exposure_step_hours"}


def upgrade() -> None:
    """Rename the fields in the JSON of every definition; values and other fields are kept."""
    experiments = sa.table(
        "experiments", sa.column("experiment_id", sa.Text), sa.column("definition", sa.Text)
    )
    connection = op.get_bind()
    rows = connection.execute(sa.select(experiments.c.experiment_id, experiments.c.definition))
    for experiment_id, definition in rows.fetchall():
        fields = {RENAMED.get(name, name): value for name, value in json.loads(definition).items()}
        connection.execute(
            sa.update(experiments)
            .where(experiments.c.experiment_id == experiment_id)
            .values(definition=json.dumps(fields, separators=(",", ":"), ensure_ascii=False))
        )
