"""LitServe: fast queues, no access log, as many API servers as workers, batches or none.

With a batch timeout of 0 a worker of LitServe asks its queue without pause, and takes the core
from the rest; so batches wait a little, as its documentation's examples do.

python lit.py PORT WORKERS MAX_BATCH_SIZE
"""

import sys
import time
from typing import Any

import litserve
import numpy as np
from fastapi import HTTPException, Request
from network import SHAPE, Network, answer, problem_of
from numpy.typing import NDArray

BATCH_TIMEOUT_S = 0.005

PredictRequest = tuple[str, NDArray[np.float32], float]
"""A request's symbol, features and time of arrival."""


class _Answering(litserve.LitAPI):
    """The parts that both forms share."""

    def setup(self, device: str) -> None:
        """Load the model in a worker."""
        self.network = Network()

    def decode_request(self, request: Request) -> PredictRequest:
        """Check one request, the document of it: with `Request` LitServe hands over its JSON.

        With a dict here it would also print each one for its debug log, which takes 3 ms.
        """
        began_s = time.perf_counter()
        features = np.array(request["features"], dtype=np.float32)
        if problem := problem_of(features):
            raise HTTPException(422, problem)
        return str(request["symbol"]), features, began_s

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return the response unchanged."""
        return output

    def run(self, requests: list[PredictRequest]) -> list[dict[str, Any]]:
        """Answer several windows in one run."""
        windows = np.stack([features for _symbol, features, _began_s in requests])
        predictions = self.network(windows.reshape(len(requests), *SHAPE))
        return [
            answer(symbol, prediction, began_s)
            for (symbol, _features, began_s), prediction in zip(requests, predictions, strict=True)
        ]


class Predictions(_Answering):
    """Predict one window at a time."""

    def predict(self, requests: PredictRequest) -> dict[str, Any]:
        """Run the model on one window."""
        return self.run([requests])[0]


class BatchedPredictions(_Answering):
    """Predict concurrent requests in one run."""

    def batch(self, inputs: list[PredictRequest]) -> list[PredictRequest]:
        """Return the requests unchanged; `run` stacks their windows."""
        return inputs

    def predict(self, requests: list[PredictRequest]) -> list[dict[str, Any]]:
        """Run the model on a batch."""
        return self.run(requests)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return one response per request."""
        return output


if __name__ == "__main__":
    port, workers, max_batch_size = map(int, sys.argv[1:])
    path = "/api/ml/predict"
    api = (
        Predictions(api_path=path)
        if max_batch_size == 1
        else BatchedPredictions(
            max_batch_size=max_batch_size, batch_timeout=BATCH_TIMEOUT_S, api_path=path
        )
    )
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
