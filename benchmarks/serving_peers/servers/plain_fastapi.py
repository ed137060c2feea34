"""The usual handwritten server: FastAPI, pydantic and ONNX Runtime."""

import time
from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException
from network import SHAPE, Network, answer, problem_of
from pydantic import BaseModel


class PredictBody(BaseModel):
    """One request."""

    symbol: str
    features: list[float]


class Prediction(BaseModel):
    """The model's outputs."""

    direction: int
    confidence: float
    expected_return: float


class PredictAnswer(BaseModel):
    """One response."""

    symbol: str
    prediction: Prediction
    model_name: str
    model_version: str
    variant: str | None
    prediction_id: str
    latency_ms: float
    timestamp: str


app = FastAPI()
network = Network()


@app.post("/api/ml/predict")
async def predict(body: PredictBody) -> PredictAnswer:
    """Answer one window of features."""
    began_s = time.perf_counter()
    features = np.array(body.features, dtype=np.float32)
    if problem := problem_of(features):
        raise HTTPException(422, problem)
    (prediction,) = network(features.reshape(1, *SHAPE))
    fields: dict[str, Any] = answer(body.symbol, prediction, began_s)
    return PredictAnswer(**fields)
