"""A version's artifacts as functions from windows to outputs; their libraries load when used."""

from registry.predictors.loading import choose_artifact, is_runnable, load_predictor, try_out
from registry.predictors.values import Outputs, Predictor, Windows, find_problems

__all__ = [
    "Outputs",
    "Predictor",
    "Windows",
    "choose_artifact",
    "find_problems",
    "is_runnable",
    "load_predictor",
    "try_out",
]
