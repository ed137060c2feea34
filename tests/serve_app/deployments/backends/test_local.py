"""A version inside the router's process, without a cluster."""

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

ANSWER = Prediction(1, 0.5, 0.01)
WINDOW = np.zeros((3, 2), dtype=np.float32)
LIMITS = {"max_ongoing_requests": 1, "max_queued_requests": 1, "batching": {"max_batch_size": 1}}
VERSION = ServedVersion(
    metadata=metadata(), settings=VersionSettings(model="toy", placement="router", **LIMITS)
)


class Model:
    """Answers when it may."""

    def __init__(self):
        self.may = asyncio.Event()

    async def predict(self, window):
        await self.may.wait()
        return ANSWER

    async def predict_many(self, windows):
        return [ANSWER] * len(windows)


async def test_it_answers_once_it_is_loaded_and_is_still_loading_before():
    model, gate = Model(), asyncio.Event()
    model.may.set()

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
    assert await backend.predict(WINDOW) == ANSWER
    assert await backend.predict_many(np.stack([WINDOW] * 3)) == [ANSWER] * 3


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (UnusableModelError("toy/v1.0.0/model.onnx", "NaN"), "NaN"),
        (MemoryError("no 8 GB"), "MemoryError: no 8 GB"),
    ],
)
async def test_why_it_will_never_be_loaded_is_told(error, problem):
    async def load(version):
        raise error

    backend = LocalBackend(VERSION, load)
    await asyncio.sleep(0.01)
    assert not backend.loaded()
    assert problem in backend.problem()
    with pytest.raises(VersionLoadingError, match=problem):
        await backend.predict(WINDOW)


async def test_more_requests_than_the_limits_allow_are_refused_at_once():
    model = Model()

    async def load(version):
        return model

    backend = LocalBackend(VERSION, load)
    await asyncio.sleep(0.01)
    waiting = [asyncio.create_task(backend.predict(WINDOW)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="2 requests in work in this router, at most 2"):
        await backend.predict(WINDOW)
    model.may.set()
    assert await asyncio.gather(*waiting) == [ANSWER] * 2
    assert await backend.predict(WINDOW) == ANSWER


async def test_a_version_given_up_while_it_loads_is_loaded_no_further():
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
