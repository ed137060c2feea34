"""The model on ONNX Runtime for every handwritten peer, as our own server runs it.

The peers' environments have neither the project nor its packages; this folder is on their path.
"""

import os
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

SHAPE = (60, 110)
LENGTH = SHAPE[0] * SHAPE[1]


class Network:
    """The model of `$MODEL`, on one thread, without spinning."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self(np.zeros((1, *SHAPE), np.float32))

    def __call__(self, windows: NDArray[np.float32]) -> list[dict[str, Any]]:
        """Return direction, confidence and expected return of each window."""
        logits, confidence, expected_return = self._session.run(
            ["direction_logits", "confidence", "expected_return"], {self._input: windows}
        )
        return [
            {"direction": direction, "confidence": sure, "expected_return": expected}
            for direction, sure, expected in zip(
                logits.argmax(axis=1).tolist(),
                confidence[:, 0].tolist(),
                expected_return[:, 0].tolist(),
                strict=True,
            )
        ]


def answer(symbol: str, prediction: dict[str, Any], began_s: float) -> dict[str, Any]:
    """Return the fields of our own server's response."""
    return {
        "symbol": symbol,
        "prediction": prediction,
        "model_name": "hybrid_cnn_lstm",
        "model_version": "1.0.0",
        "variant": None,
        "prediction_id": uuid.uuid4().hex,
        "latency_ms": (time.perf_counter() - began_s) * 1e3,
        "timestamp": datetime.now(UTC).isoformat(),
    }


def problem_of(features: NDArray[np.float32]) -> str | None:
    """Return the problem of a window in row order; None for a valid one."""
    if features.shape != (LENGTH,):
        return f"features: expected {LENGTH} numbers, received {features.size}"
    if not np.isfinite(features).all():
        return "features: expected finite numbers"
    return None
