"""A model behind dynamic batching, in the process of the test."""

import asyncio

import numpy as np
import pytest

from serve_app.data_plane.decoding import Failure
from serve_app.deployments.backends.batched_model import BatchedModel
from serve_app.settings import BatchSettings
from testkit.models import metadata


class Predictor:
    """Returns the first value of each window as its expected return; rejects negative ones."""

    def __init__(self):
        self.batches = []

    def __call__(self, windows):
        values = windows[:, 0, 0]
        self.batches.append(values.tolist())
        if (values < 0).any():
            raise ValueError("negative")
        return {
            "direction_logits": np.tile(
                np.array([0.0, 1.0, 0.0], dtype=np.float32), (len(values), 1)
            ),
            "confidence": np.full((len(values), 1), 0.5, dtype=np.float32),
            "expected_return": values[:, np.newaxis],
        }


def window(value):
    return np.full((3, 2), value, dtype=np.float32)


@pytest.fixture
def predictor():
    return Predictor()


@pytest.fixture
def runs():
    """The sizes of the counted runs."""
    return []


@pytest.fixture
def model(predictor, runs):
    return BatchedModel(predictor, metadata(), BatchSettings(max_batch_size=4), runs.append)


def returns_of(results):
    return [result.expected_return for result in results]


async def test_waiting_requests_form_a_batch(model, predictor, runs):
    requests = [asyncio.create_task(model.predict(window(value))) for value in range(3)]
    results = await asyncio.gather(*requests)
    assert returns_of(results) == [0, 1, 2]
    assert predictor.batches == [[0, 1, 2]]
    assert runs == [3]
    assert all(result.run.waited_s >= 0 and result.run.took_s > 0 for result in results)


async def test_a_body_runs_in_full_batches(model, predictor, runs):
    results = await model.predict_many([window(value) for value in range(6)])
    assert returns_of(results) == list(range(6))
    assert predictor.batches == [[0, 1, 2, 3], [4, 5]]
    assert runs == [4, 2]


async def test_a_failing_window_fails_alone(model, runs, caplog):
    """The others of its batch are computed one by one, and count as one run."""
    results = await model.predict_many([window(1), window(-1), window(2)])
    assert results[1] == Failure("ValueError: negative")
    assert returns_of([results[0], results[2]]) == [1, 2]
    assert runs == [3]
    assert "toy:1.0.0 failed on a window" in caplog.text


async def test_other_work_happens_between_runs(model):
    """The event loop is free after each run of a large body."""
    turns = []

    async def count_turns():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    counter = asyncio.create_task(count_turns())
    await model.predict_many([window(value) for value in range(12)])
    counter.cancel()
    assert len(turns) >= 2
