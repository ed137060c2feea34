"""BentoML with `$WORKERS` processes: `Predictions` runs single windows, `BatchedPredictions`
batches.

Access log and metrics are off, which its documentation describes as the way to save their cost.
"""

import os
import time
from typing import Annotated, Any

import bentoml
import numpy as np
from bentoml.exceptions import UnprocessableEntity
from bentoml.validators import DType, Shape
from network import LENGTH, SHAPE, Network, answer, problem_of
from numpy.typing import NDArray
from pydantic import BaseModel

Features = Annotated[NDArray[np.float32], Shape((LENGTH,)), DType("float32")]

SETTINGS: dict[str, Any] = {
    "workers": int(os.environ["WORKERS"]),
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
}


class PredictRequest(BaseModel):
    """One request of a batch."""

    symbol: str
    features: list[float]


@bentoml.service(**SETTINGS)
class Predictions:
    """Run the model once per request."""

    def __init__(self) -> None:
        self.network = Network()

    @bentoml.api(route="/api/ml/predict")
    async def predict(self, symbol: str, features: Features) -> dict[str, Any]:
        """Answer one window of features."""
        began_s = time.perf_counter()
        if problem := problem_of(features):
            raise UnprocessableEntity(problem)
        (prediction,) = self.network(features.reshape(1, *SHAPE))
        fields: dict[str, Any] = answer(symbol, prediction, began_s)
        return fields


@bentoml.service(**SETTINGS)
class BatchedPredictions:
    """Run the model on concurrent requests; a caller sends a list of one, as BentoML requires."""

    def __init__(self) -> None:
        self.network = Network()

    @bentoml.api(route="/api/ml/predict", batchable=True, max_batch_size=32)
    async def predict(self, requests: list[PredictRequest]) -> list[dict[str, Any]]:
        """Answer several windows of features."""
        began_s = time.perf_counter()
        windows = np.array([request.features for request in requests], dtype=np.float32)
        for window in windows:
            if problem := problem_of(window):
                raise UnprocessableEntity(problem)
        predictions = self.network(windows.reshape(len(requests), *SHAPE))
        return [
            answer(each.symbol, prediction, began_s)
            for each, prediction in zip(requests, predictions, strict=True)
        ]
