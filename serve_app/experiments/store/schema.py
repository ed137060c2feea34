"""The tables of the database; the migrations in `migrations/versions` create them.

Times are seconds since 1970 in UTC. All types are portable: the same statements run on SQLite and
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
"""The variant, as part of a key, of a prediction outside experiments."""

PAIRS = "pairs"
"""The variant of a row of `summaries` about requests that both variants received (mirror mode)."""

UNITS = "units"
"""The variant of a row of `summaries` about the units of an experiment."""

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
"""`application` is the one that runs the experiment. It is null in rows that are older than the
column; every application runs these. `definition` and `final_report` are JSON."""

HISTORY = Table(
    "experiment_history",
    METADATA,
    Column("experiment_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("time_s", Double, nullable=False),
    Column("action", Text, nullable=False),
    Column("details", Text, nullable=False),
)
"""The history of an experiment, numbered from 0; `details` is JSON."""

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
    Column("hold_probability", Double),
    Column("buy_probability", Double),
    Column("sell_probability", Double),
    Column("timeframe", Text),
    Column("bar_s", Double),
    sqlite_with_rowid=False,
)
"""One row per prediction; in mirror mode both variants share a `prediction_id`."""

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
"""JSON of a VariantSummary, or of a PairSummary where `variant` is PAIRS, or of UnitTotals where it
is UNITS; BlockClock numbers the blocks.

Summaries are changed in the transaction that writes the predictions and outcomes that they
summarise. UnitTotals are not sums over a block: the row of the newest block holds everything, an
older row what was known while its block was the newest.
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
"""The contribution of each bot or symbol to a variant, in experiments that assign these.

Sums are weighted by overlap (`experiments.units`) and changed together with the UnitTotals.
Requests that are units of their own are in the totals and have no row here.
"""

CANARY = Table("canary", METADATA, Column("written_s", Double, primary_key=True))
"""At most one row: the time of the last commit that only tried whether the database can be written.
"""

RETENTION = Table(
    "retention",
    METADATA,
    Column("before_s", Double, primary_key=True),
)
"""At most one row: predictions before this time have been deleted and are rejected."""
