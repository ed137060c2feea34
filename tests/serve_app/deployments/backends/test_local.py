"""The backend of a version inside the router's process."""

import asyncio

import numpy as np
import pytest

from registry.errors import UnusableModelError
from serve_app.data_plane.decoding import Prediction
from serve_app.deployments.backends.local import LocalBackend
from serve_app.errors import OverloadedError, VersionLoadingError
from serve_app.settings import VersionSettings
from serve_app.state.serving import ServedVersion
from testkit.models import metadata

PREDICTION = Prediction(1, 0.5, 0.01)
WINDOW = np.zeros((3, 2), dtype=np.float32)
LIMITS = {"max_ongoing_requests": 1, "max_queued_requests": 1, "batching": {"max_batch_size": 1}}
VERSION = ServedVersion(
    metadata=metadata(), settings=VersionSettings(model="toy", placement="router", **LIMITS)
)


class Model:
    """Predicts once it is released."""

    def __init__(self):
        self.released = asyncio.Event()

    async def predict(self, window):
        await self.released.wait()
        return PREDICTION

    async def predict_many(self, windows):
        return [PREDICTION] * len(windows)


async def test_a_backend_predicts_once_it_is_loaded():
    """Before that it is still loading."""
    model, gate = Model(), asyncio.Event()
    model.released.set()

    async def load(version):
        assert version == VERSION
        await gate.wait()
        return model

    backend = LocalBackend(VERSION, load)
    await asyncio.sleep(0)
    assert not backend.loaded()
    with pytest.raises(VersionLoadingError):
        await backend.predict(WINDOW)
    gate.set()
    await asyncio.sleep(0.01)
    assert backend.loaded()
    assert await backend.predict(WINDOW) == PREDICTION
    assert await backend.predict_many(np.stack([WINDOW] * 3)) == [PREDICTION] * 3


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (UnusableModelError("toy/v1.0.0/model.onnx", "NaN"), "NaN"),
        (MemoryError("no 8 GB"), "MemoryError: no 8 GB"),
    ],
)
async def test_a_failed_load_is_reported(error, problem):
    async def load(version):
        raise error

    backend = LocalBackend(VERSION, load)
    await asyncio.sleep(0.01)
    assert not backend.loaded()
    assert problem in backend.problem()
    with pytest.raises(VersionLoadingError, match=problem):
        await backend.predict(WINDOW)


async def test_requests_beyond_the_limits_are_rejected():
    model = Model()

    async def load(version):
        return model

    backend = LocalBackend(VERSION, load)
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(backend.predict(WINDOW)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="2 requests in flight in this router, at most 2"):
        await backend.predict(WINDOW)
    model.released.set()
    assert await asyncio.gather(*waiting) == [PREDICTION] * 2
    assert await backend.predict(WINDOW) == PREDICTION


async def test_closing_cancels_the_load():
    gate = asyncio.Event()

    async def load(version):
        await gate.wait()
        return Model()

    backend = LocalBackend(VERSION, load)
    await asyncio.sleep(0)
    backend.close()
    gate.set()
    await asyncio.sleep(0.01)
    assert not backend.loaded()
