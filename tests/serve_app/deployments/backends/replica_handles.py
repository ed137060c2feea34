"""Serve's handle of a version's replicas, in memory."""

import asyncio

import numpy as np

from serve_app.data_plane.decoding import Failure, Prediction, Run
from serve_app.settings import VersionSettings
from serve_app.state.serving import ServedVersion
from testkit.models import metadata

PREDICTION = Prediction(1, 0.5, 0.01)
WINDOW = np.zeros((3, 2), dtype=np.float32)
AUTOSCALED = {"autoscaling": {"max_replicas": 2}}
"""Settings under which Serve counts calls, so that each request is a separate call."""


class Method:
    """A method of a handle that returns, or raises, one of its results per call.

    An event is returned once it is set.
    """

    def __init__(self, *results):
        self.results = list(results)

    async def remote(self, *_window):
        result = self.results.pop(0)
        if isinstance(result, BaseException):
            raise result
        if isinstance(result, asyncio.Event):
            await result.wait()
        return result


class Handle:
    def __init__(self, *results):
        self.predict = self.predict_many = self.address = Method(*results)


class Recorder:
    """Records the windows of each call, and responds once it is released."""

    def __init__(self):
        self.calls, self.released = [], asyncio.Event()

    async def remote(self, windows):
        self.calls.append(windows[:, 0, 0].tolist())
        await self.released.wait()
        return [
            Failure("NaN") if first == 3 else Prediction(1, 0.5, float(first), run=Run(0.25, 0.5))
            for first in windows[:, 0, 0]
        ]


def version(**settings):
    return ServedVersion(
        metadata=metadata(), settings=VersionSettings(model="toy", version="1.0.0", **settings)
    )


async def submit(backend, numbers):
    """Submit one request per number, one after the other, and return their tasks."""
    requests = []
    for number in numbers:
        window = np.full((3, 2), number, dtype=np.float32)
        requests.append(asyncio.create_task(backend.predict(window)))
        await asyncio.sleep(0.001)
    return requests
