"""Runs a version's artifacts on windows; the libraries that run them are imported when used."""

from registry.predictors.loading import choose_artifact, is_runnable, load_predictor, try_out
from registry.predictors.values import (
    Outputs,
    Predictor,
    Row,
    Windows,
    find_problem,
    rows_of,
)

__all__ = [
    "Outputs",
    "Predictor",
    "Row",
    "Windows",
    "choose_artifact",
    "find_problem",
    "is_runnable",
    "load_predictor",
    "rows_of",
    "try_out",
]
