"""The time that `ModelClient.predict` adds to the same request with a prepared body."""

import time
from dataclasses import dataclass

import aiohttp
import numpy as np
import orjson

from benchmarks.serving_peers.requests import SYMBOL, windows
from benchmarks.serving_peers.wrk import Request
from serve_app.client import ModelClient
from serve_app.client.encoding import encode_request

CALLS = 400
WARM_UP_CALLS = 50


@dataclass(frozen=True, slots=True)
class ClientCost:
    """Median latencies of the same request, interleaved in one process."""

    client_ms: float
    by_hand_ms: float

    @property
    def added_ms(self) -> float:
        """Return the time that the client adds, in ms."""
        return self.client_ms - self.by_hand_ms


def client_json() -> Request:
    """Return the request that the client sends for a window as JSON."""
    window = windows(1)[0].astype(np.float32)
    body = encode_request({"symbol": SYMBOL, "features": window})
    return Request(path="/api/ml/predict", content_type="application/json", body=body)


async def measure_client(url: str, by_hand: Request) -> ClientCost:
    """Send the request by the client and by hand, alternating call by call.

    Args:
        url: the server's.
        by_hand: what the client sends, ready to send.
    """
    window = windows(1)[0].astype(np.float32)
    client_ms, by_hand_ms = [], []
    headers = {"Content-Type": by_hand.content_type}
    async with ModelClient(url, raise_errors=True) as client, aiohttp.ClientSession() as session:
        for call in range(WARM_UP_CALLS + CALLS):
            began_s = time.perf_counter()
            await client.predict(symbol=SYMBOL, features=window)
            between_s = time.perf_counter()
            async with session.post(
                f"{url}{by_hand.path}", data=by_hand.body, headers=headers
            ) as answer:
                answer.raise_for_status()
                orjson.loads(await answer.read())
            ended_s = time.perf_counter()
            if call >= WARM_UP_CALLS:
                client_ms.append((between_s - began_s) * 1e3)
                by_hand_ms.append((ended_s - between_s) * 1e3)
    return ClientCost(float(np.median(client_ms)), float(np.median(by_hand_ms)))
