"""Predictions by symbol on a cluster: bars in, predictions out, also after the predictor died."""

import asyncio
import json
import time

import numpy as np
import pytest

from examples.eurusd.data import load_bars
from examples.eurusd.features import FEATURE_SET
from features.feature_sets import compute_rows, digest_source
from features.times import iso
from registry.feature_sets import FeatureSetRecord
from serve_app.client import ModelClient
from serve_app.errors import ServerRejectedError
from testkit.models import linear_onnx
from testkit.snippets import SERVER_URL, page, run_shell
from tests.integration.conftest import NAME, serving_args

MODEL = "by_symbol"
BARS = load_bars().take(slice(310))
ANY_AGE_S = 1e9
DEFAULT = {f"{NAME}:{version}" for version in ("1.0.0", "1.1.0", "1.2.0")}


@pytest.fixture(scope="module", autouse=True)
def served(cluster, registry, folder):
    """A version of another model that names the feature set of the example."""
    model = folder / "by_symbol.onnx"
    model.write_bytes(linear_onnx(shape=(60, 110)))
    record = FeatureSetRecord(
        name=FEATURE_SET.name,
        version=FEATURE_SET.version,
        sha256=digest_source("examples.eurusd.features").sha256,
        feature_names=FEATURE_SET.feature_names,
        checked_on="the bars of the example",
    )
    asyncio.run(
        registry.register_model(
            MODEL, "1.0.0", model, "Toy", input_shape=(60, 110), feature_set=record
        )
    )
    asyncio.run(registry.promote_to_production(MODEL, "1.0.0"))
    args = serving_args(default_model=MODEL, markets={"symbols": {"EURUSD": "fx"}})
    cluster.deploy(
        {**args, "versions": [*args["versions"], {"model": MODEL, "version": "production"}]}
    )
    cluster.wait_until_serving({*DEFAULT, f"{MODEL}:1.0.0"})
    yield
    cluster.deploy(serving_args())
    cluster.wait_until_serving(DEFAULT)


@pytest.fixture
async def client(cluster):
    async with ModelClient(cluster.url, raise_errors=True, timeout_s=20) as client:
        yield client


async def push(client, start, end):
    part = BARS.take(slice(start, end))
    names = ("time", "open", "high", "low", "close", "volume")
    rows = zip(part.time.tolist(), *part.values.tolist(), strict=True)
    bars = [dict(zip(names, row, strict=True)) for row in rows]
    report = await client.push_bars("EURUSD", "1h", bars)
    assert report["accepted"] == end - start


async def predict(client, **fields):
    return await client.predict("EURUSD", None, MODEL, "1.0.0", **fields)


async def test_predictions(cluster, client):
    """A prediction by symbol equals that from features, and survives the predictor's process."""
    with pytest.raises(ServerRejectedError) as caught:
        await predict(client)
    assert (caught.value.status, caught.value.code) == (404, "unknown_symbol")

    await push(client, 0, 300)
    response = await predict(client, max_age_s=ANY_AGE_S)
    assert response["bar"] == iso(int(BARS.time[299]))
    window = compute_rows(FEATURE_SET, BARS.take(slice(300)))
    from_features = await client.predict("EURUSD", window, MODEL, "1.0.0")
    assert response["prediction"] == pytest.approx(from_features["prediction"], abs=1e-5)
    with pytest.raises(ServerRejectedError) as caught:
        await predict(client)
    assert (caught.value.status, caught.value.code) == (409, "stale_features")

    for end in range(301, 306):
        await push(client, end - 1, end)
        latest = await predict(client, max_age_s=ANY_AGE_S)
        assert latest["bar"] == iso(int(BARS.time[end - 1]))

    (process,) = cluster.find("ray::LivePredictorActor")
    process.kill()
    await push(client, 305, 306)
    named = int(BARS.time[305])
    deadline_s = time.monotonic() + 30
    while True:
        try:
            assert (await predict(client, bar=named))["bar"] == iso(named)
            break
        except ServerRejectedError as error:
            assert error.status in (409, 503, 504), error  # noqa: PT017  the reason is checked
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.2)
    again = await predict(client, bar=int(BARS.time[299]))
    assert again["prediction"] == pytest.approx(response["prediction"], abs=1e-5)
    assert again["as_of"] == response["as_of"]
    assert np.isfinite(again["age_s"])


async def test_series(client):
    """The predictions of a series equal those of single requests; other bars are omitted."""
    first, last = int(BARS.time[297]), int(BARS.time[305])
    series = await client.predict_series(
        "EURUSD", start=first, end=last, model_name=MODEL, model_version="1.0.0"
    )
    made = {one["bar"]: one for one in series["predictions"]}
    assert list(made) == [iso(int(time)) for time in BARS.time[299:306]]
    assert {one["code"] for one in series["omitted"]} == {"incomplete_window"}
    for bar, found in made.items():
        single = await predict(client, bar=bar)
        assert found["prediction"] == pytest.approx(single["prediction"], abs=1e-5)
        assert found["as_of"] == single["as_of"]


def test_readme(cluster, tmp_path):
    """The README's commands import the bars of the example and predict by symbol."""
    readme = page("README.md")
    script = readme.block("bash", "Predict by symbol").replace(
        "eurusd.csv", f"{tmp_path}/eurusd.csv"
    )
    printed = run_shell(
        script.replace(SERVER_URL, cluster.url),
        environment={"COLUMNS": "120", "MODELCTL_URL": cluster.url},
    )
    response = json.loads(printed[printed.index("{") :])
    assert list(response) == list(json.loads(readme.block("json", "Predict by symbol")))
    assert response["bar"] == "2017-12-29T21:00:00Z"
