"""LitServe, with the settings that its documentation recommends for throughput on CPUs.

python lit.py PORT WORKERS
"""

import sys
import time
from typing import Any

import litserve
import numpy as np
from fastapi import HTTPException
from network import SHAPE, Network, answer, problem_of
from numpy.typing import NDArray

MAX_BATCH_SIZE = int(sys.argv[3]) if len(sys.argv) > 3 else 8


class Predictions(litserve.LitAPI):
    """Answers windows of features; LitServe joins what waits into one batch."""

    def setup(self, device: str) -> None:
        """Load the model in a worker."""
        self.network = Network()

    def decode_request(self, request: dict[str, Any]) -> tuple[str, NDArray[np.float32], float]:
        """Check one request."""
        began_s = time.perf_counter()
        features = np.array(request["features"], dtype=np.float32)
        if problem := problem_of(features):
            raise HTTPException(422, problem)
        return str(request["symbol"]), features, began_s

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Leave the requests as they are; `predict` stacks their windows."""
        return inputs

    def predict(self, inputs: Any) -> Any:
        """Run the model on a batch, or on one request where there are no batches."""
        if MAX_BATCH_SIZE == 1:
            inputs = [inputs]
        windows = np.stack([features for _symbol, features, _began in inputs])
        predictions = self.network(windows.reshape(len(inputs), *SHAPE))
        answers = [
            answer(symbol, prediction, began_s)
            for (symbol, _features, began_s), prediction in zip(inputs, predictions, strict=True)
        ]
        return answers[0] if MAX_BATCH_SIZE == 1 else answers

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Return one answer a request."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Return the answer as it is."""
        return output


if __name__ == "__main__":
    port, workers = int(sys.argv[1]), int(sys.argv[2])
    api = Predictions(max_batch_size=MAX_BATCH_SIZE, batch_timeout=0.0, api_path="/api/ml/predict")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
