"""Durable storage of experiments, predictions and outcomes.

See docs/guides/experiments-storage.md.
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
    RefusedPrediction,
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
    "RefusedPrediction",
    "StoredExperiment",
    "WrittenPredictions",
]
