"""Predictions by symbol: lookups in the table, with the rules of age and ordinary records."""

from dataclasses import replace

import pytest

from features.times import iso
from serve_app.api.rest.encoding import prediction_document
from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.live_results import LiveResult, Position, Publication
from serve_app.data_plane.responses import FailedItem
from serve_app.errors import (
    IncompleteWindowError,
    NoFeatureSetError,
    NotServedError,
    StaleFeaturesError,
    UnknownSymbolError,
)
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.records import Variant
from serve_app.experiments.running import RunningExperiment
from serve_app.versions import VersionRef
from testkit.feature_sets import record
from tests.serve_app.core import DEFINITION, NEW, NOW, OLD, core, request

FEATURE_SET = record()
VERSIONS = tuple(
    metadata.model_copy(update={"feature_set": FEATURE_SET}) for metadata in (OLD, NEW)
)
HOUR_MS = 3_600_000
NOW_MS = round(NOW.timestamp() * 1000)
BAR_MS = NOW_MS // HOUR_MS * HOUR_MS - HOUR_MS
"""The last bar that ended before NOW."""


def result(version, direction, bar_ms=BAR_MS, outcome=None):
    end_ms = bar_ms + HOUR_MS
    prediction = Prediction(direction, 0.5, 0.25)
    return LiveResult(
        VersionRef("toy", version),
        "BTCUSDT",
        "1h",
        bar_ms,
        end_ms + 5,
        end_ms + HOUR_MS * 3 // 2,
        outcome or prediction,
    )


def serving(*results, versions=VERSIONS, **fields):
    under_test = core(versions=versions, **fields)
    timeframes = {VersionRef("toy", number): "1h" for number in ("1.0.0", "1.1.0")}
    under_test.live.apply(Publication(Position("p", 1), timeframes, results, (), True))
    return under_test


async def by_symbol(under_test, **fields):
    return await under_test.predict(None, **fields)


async def test_lookup():
    """A request without features is served from the table and recorded; no model runs."""
    under_test = serving(result("1.0.0", 1), result("1.1.0", 2))
    response = await by_symbol(under_test)
    assert (response.prediction, response.version.version) == (Prediction(1, 0.5, 0.25), "1.0.0")
    assert (await by_symbol(under_test, model_version="staging")).prediction.direction == 2
    record = under_test.records[0]
    assert (record.prediction_id, record.symbol) == (response.prediction_id, "BTCUSDT")
    assert (record.direction, record.expected_return) == (1, 0.25)
    assert (record.timeframe, record.bar.timestamp() * 1000) == ("1h", BAR_MS)
    assert len({record.prediction_id for record in under_test.records}) == 2


async def test_document():
    """The response names the bar, when it was known, and its age."""
    document = prediction_document(await by_symbol(serving(result("1.0.0", 1))))
    assert document["bar"] == iso(BAR_MS)
    assert document["as_of"] == iso(BAR_MS + HOUR_MS + 5)
    assert document["age_s"] == (NOW_MS - BAR_MS - HOUR_MS) / 1e3
    assert "bar" not in prediction_document(await serving().predict())


async def test_stale():
    """A stale prediction is never returned; a request that names its bar or allows more gets it."""
    stale_ms = BAR_MS - 2 * HOUR_MS
    under_test = serving(result("1.0.0", 1, stale_ms))
    with pytest.raises(StaleFeaturesError) as caught:
        await by_symbol(under_test)
    assert caught.value.bar == iso(stale_ms)
    with pytest.raises(StaleFeaturesError):
        await by_symbol(under_test, bar=stale_ms, max_age_s=60.0)
    assert under_test.records == []
    for fields in ({"bar": stale_ms}, {"max_age_s": 1e6}):
        assert (await by_symbol(under_test, **fields)).prediction.direction == 1


@pytest.mark.parametrize(
    ("results", "fields", "error"),
    [
        ((), {}, UnknownSymbolError),
        ((), {"model_version": "2.0.0"}, NotServedError),
        (
            (result("1.0.0", 1, outcome=IncompleteWindowError("X", "1h", "b", 300, ["a"], 1)),),
            {},
            IncompleteWindowError,
        ),
    ],
)
async def test_no_window(results, fields, error):
    """Without a window there is an error and no record."""
    under_test = serving(*results)
    with pytest.raises(error):
        await by_symbol(under_test, **fields)
    assert under_test.records == []


async def test_no_feature_set():
    """A version that names no feature set has no windows of its own."""
    with pytest.raises(NoFeatureSetError, match=r"toy:1\.0\.0 names no feature set; send features"):
        await by_symbol(serving(versions=(OLD, NEW)))


async def test_batch():
    """A batch may mix requests with features and by symbol."""
    under_test = serving(result("1.0.0", 2))
    items = [request(), request(None), request(None, model_version="1.1.0")]
    served = await under_test.predict_batch(items)
    assert [item.prediction.direction for item in served.items[:2]] == [1, 2]
    assert isinstance(served.items[2], FailedItem)
    assert (served.items[0].window, served.items[1].window.bar_ms) == (None, BAR_MS)


def running(share, **fields):
    definition = ExperimentDefinition(**DEFINITION, **fields)
    return RunningExperiment(definition=definition, treatment_share=share, exposed_at=NOW)


@pytest.mark.parametrize(
    ("share", "variant", "direction"),
    [(0.0, Variant.CONTROL, 1), (1.0, Variant.TREATMENT, 2)],
)
async def test_experiment(share, variant, direction):
    """In an experiment the variant's prediction of the same bar is returned and recorded."""
    under_test = serving(result("1.0.0", 1), result("1.1.0", 2), running=[running(share)])
    response = await by_symbol(under_test)
    assert (response.variant, response.prediction.direction) == (variant, direction)
    assert (response.window.version, response.window.bar_ms) == (response.version, BAR_MS)
    (record,) = under_test.records
    assert (record.variant, record.direction) == (variant, direction)
    assert (record.timeframe, record.bar.timestamp() * 1000) == ("1h", BAR_MS)


async def test_mirror():
    """In mirror mode both variants' predictions of one bar are recorded."""
    under_test = serving(
        result("1.0.0", 1), result("1.1.0", 2), running=[running(1.0, mode="mirror")]
    )
    assert (await by_symbol(under_test)).prediction.direction == 1
    assert {record.direction for record in under_test.records} == {1, 2}


async def test_stale_in_experiment():
    """A stale window is an error of the request, and is recorded for no variant."""
    old = result("1.0.0", 1, BAR_MS - 5 * HOUR_MS)
    under_test = serving(old, replace_version(old), running=[running(1.0)])
    with pytest.raises(StaleFeaturesError):
        await by_symbol(under_test)
    assert under_test.records == []


def replace_version(one):
    return one._replace(
        version=VersionRef("toy", "1.1.0"), outcome=replace(one.outcome, direction=2)
    )
