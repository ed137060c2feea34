"""Series of predictions: those of single requests, in bounded runs of the model, not recorded."""

import asyncio

import numpy as np
import pytest

from serve_app.data_plane import series as module
from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.series import WINDOWS_PER_RUN, SeriesRequest
from serve_app.errors import (
    BodyTooLargeError,
    InvalidFeaturesError,
    InvalidRequestError,
    NoFeatureSetError,
    NotServedError,
    OverloadedError,
    UnknownSymbolError,
    VersionLoadingError,
)
from testkit.feature_sets import record
from tests.serve_app.core import NEW, OLD, FakeBackend, core

HOUR_MS = 3_600_000
WITH_FEATURES = OLD.model_copy(update={"feature_set": record()})


def rows(count, **fields):
    """Return rows of which the first number is their position."""
    features = np.column_stack([np.arange(count), np.ones(count)]).astype(float)
    return SeriesRequest(features=features, **fields)


def bars(**fields):
    return SeriesRequest(**{"symbol": "BTC/USDT", "first_ms": 0, **fields})


async def predict(under_test, request):
    return await under_test.services.series.predict(request)


@pytest.mark.parametrize("count", [3, WINDOWS_PER_RUN + 2, 2 * WINDOWS_PER_RUN + 10])
async def test_rows(count):
    """T rows give T - 2 predictions of windows of three, as single requests do."""
    backend = FakeBackend(1)
    under_test = core(old=backend)
    request = rows(count)
    response = await predict(under_test, request)
    assert [entry.row for entry in response.entries] == list(range(2, count))
    assert max(backend.batches) <= WINDOWS_PER_RUN
    for entry in (response.entries[0], response.entries[-1]):
        window = request.features[entry.row - 2 : entry.row + 1].ravel().tolist()
        assert entry.outcome == (await under_test.predict(window)).prediction
    assert len(under_test.records) == 2  # those of the single requests


async def test_flat_rows():
    """Rows may be flat, and have no symbol."""
    request = rows(5)
    flat = request._replace(features=request.features.ravel(), symbol="A")
    under_test = core()
    assert (await predict(under_test, flat)).entries == (await predict(under_test, request)).entries


async def test_failed_row():
    """A window without a prediction has the code of its error; the others are unaffected."""
    response = await predict(core(), rows(670))
    outcomes = {entry.row: entry.outcome for entry in response.entries}
    assert [row for row, one in outcomes.items() if not isinstance(one, Prediction)] == [668]
    assert outcomes[668] == "model_output"


async def test_bars():
    """All parts of a range are served; a bar without a window has the code of its error."""
    under_test = core(versions=(WITH_FEATURES, NEW))
    response = await predict(under_test, bars())
    assert (response.symbol, response.timeframe) == ("BTC/USDT", "1h")
    assert [entry.bar_ms for entry in response.entries] == [n * HOUR_MS for n in range(5)]
    first, *others = response.entries
    assert first[1:] == (None, None, "incomplete_window")
    assert [entry.as_of_ms - entry.bar_ms for entry in others] == [5] * 4
    assert [entry.outcome.expected_return for entry in others] == [0, 2, 2, 4]
    assert under_test.records == []
    part = await predict(under_test, bars(first_ms=HOUR_MS, last_ms=HOUR_MS))
    assert [entry.bar_ms for entry in part.entries] == [HOUR_MS]


async def test_other_requests_proceed():
    """A single request waits for one run of the model at most; a second series waits."""
    runs, released = [], asyncio.Event()

    class Held(FakeBackend):
        async def predict_many(self, windows):
            runs.append(len(windows))
            if len(windows) > 1:
                await released.wait()
            return await super().predict_many(windows)

    under_test = core(old=Held(1))
    tasks = [asyncio.create_task(predict(under_test, rows(100))) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert runs == [WINDOWS_PER_RUN]
    assert (await under_test.predict()).prediction.direction == 1
    released.set()
    responses = await asyncio.gather(*tasks)
    assert [len(one.entries) for one in responses] == [98, 98]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (rows(2), InvalidFeaturesError),
        (rows(3)._replace(features=np.ones(7)), InvalidFeaturesError),
        (rows(3)._replace(features=np.full((3, 2), np.nan)), InvalidFeaturesError),
        (rows(3)._replace(features=np.empty(0)), InvalidFeaturesError),
        (rows(3, model_version="9.9.9"), NotServedError),
        (SeriesRequest(), InvalidRequestError),
        (bars(symbol="X"), UnknownSymbolError),
        (bars(model_version="1.1.0"), NoFeatureSetError),
    ],
)
async def test_rejected(request_, error):
    """A request that cannot be served has the error of a single one."""
    with pytest.raises(error):
        await predict(core(versions=(WITH_FEATURES, NEW)), request_)


async def test_too_many_rows(monkeypatch):
    """The number of rows is limited."""
    monkeypatch.setattr(module, "MAX_PREDICTIONS", 10)
    assert len((await predict(core(), rows(12))).entries) == 10
    with pytest.raises(BodyTooLargeError, match="at most 12 rows of features, received 13"):
        await predict(core(), rows(13))


async def test_unavailable_version():
    """A series ends with the error of a version that is not loaded, or overloaded."""
    with pytest.raises(VersionLoadingError):
        await predict(core(old=FakeBackend(loaded=False)), rows(3))
    with pytest.raises(OverloadedError):
        await predict(core(old=FakeBackend(error=OverloadedError("toy", "1.0.0", "full"))), rows(3))
