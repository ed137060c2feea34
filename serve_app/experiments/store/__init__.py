"""The experiment store: experiments, predictions and outcomes in a SQL database.

docs/guides/experiments-storage.md describes its guarantees and its tables.
"""

from serve_app.experiments.history import (
    HistoryEntry,
    OutcomeResult,
    RecordedOutcome,
    StoredExperiment,
)
from serve_app.experiments.store.log import ExperimentLog, LogCounters, LogLimits
from serve_app.experiments.store.reading import LabelledPrediction
from serve_app.experiments.store.store import ExperimentStore
from serve_app.experiments.store.writing import (
    RejectedPrediction,
    WrittenPredictions,
)

__all__ = [
    "ExperimentLog",
    "ExperimentStore",
    "HistoryEntry",
    "LabelledPrediction",
    "LogCounters",
    "LogLimits",
    "OutcomeResult",
    "RecordedOutcome",
    "RejectedPrediction",
    "StoredExperiment",
    "WrittenPredictions",
]
