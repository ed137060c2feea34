"""The tables as this software uses them; migrations/versions says how a database gets there.

Times are seconds since 1970 in UTC. Only portable types: the same statements run on SQLite and on
PostgreSQL.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

NO_VARIANT = ""
"""Stands in a key for the variant of a prediction outside every experiment."""

PAIRS = "pairs"
"""Stands in `summaries` for the variant where both variants answered the same requests (mirror)."""

UNITS = "units"
"""Stands in `summaries` for the variant of what is known of the experiment's units."""

METADATA = MetaData()

EXPERIMENTS = Table(
    "experiments",
    METADATA,
    Column("experiment_id", Text, primary_key=True),
    Column("definition", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("started_s", Double, nullable=False),
    Column("ended_s", Double),
    Column("end_reason", Text),
    Column("final_report", Text),
    Column("application", Text),
)
"""`application` is the one that carries it through; null in rows from before there was the column,
which every application carries through. `definition` and `final_report` are JSON."""

HISTORY = Table(
    "experiment_history",
    METADATA,
    Column("experiment_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time_s", Double, nullable=False),
    Column("action", Text, nullable=False),
    Column("details", Text, nullable=False),
)
"""What happened to an experiment, numbered from 0; `details` is JSON."""

PREDICTIONS = Table(
    "predictions",
    METADATA,
    Column("prediction_id", Text, primary_key=True),
    Column("variant", Text, primary_key=True),
    Column("experiment_id", Text),
    Column("time_s", Double, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("direction", SmallInteger),
    Column("confidence", Double),
    Column("expected_return", Double),
    Column("latency_ms", Double, nullable=False),
    Column("error", Text),
    Column("treatment_share", Double),
    Column("mirrored", Boolean, nullable=False),
    Column("unit_id", Text),
    sqlite_with_rowid=False,
)
"""One answer; in mirror mode both variants answer under one `prediction_id`."""

Index(
    "predictions_by_time",
    PREDICTIONS.c.time_s,
    PREDICTIONS.c.prediction_id,
    PREDICTIONS.c.variant,
)

OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("prediction_id", Text, primary_key=True),
    Column("market_return", Double, nullable=False),
    Column("received_s", Double, nullable=False),
    sqlite_with_rowid=False,
)

SUMMARIES = Table(
    "summaries",
    METADATA,
    Column("experiment_id", Text, primary_key=True),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("variant", Text, primary_key=True),
    Column("summary", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""JSON of an VariantSummary, of a PairSummary where `variant` is PAIRS, of UnitTotals where it is
UNITS; `block` as in BlockClock.

Changed in the transaction that writes the predictions and outcomes they summarise. UnitTotals are
not by block: the newest hold everything, those before it what was known while theirs was newest.
"""

UNIT_SUMS = Table(
    "unit_sums",
    METADATA,
    Column("experiment_id", Text, primary_key=True),
    Column("unit", Text, primary_key=True),
    Column("variant", Text, primary_key=True),
    Column("labelled", Double, nullable=False),
    Column("correct", Double, nullable=False),
    Column("return_sum", Double, nullable=False),
    Column("return_square_sum", Double, nullable=False),
    sqlite_with_rowid=False,
)
"""What each bot or symbol of an experiment that assigns these brought to a variant, in overlap
weights (`experiments.units`). Changed together with the UnitTotals. Predictions that are units of
their own are in these alone."""

RETENTION = Table(
    "retention",
    METADATA,
    Column("before_s", Double, primary_key=True),
)
"""At most one row: predictions older than this have been deleted, and none is taken any more."""
