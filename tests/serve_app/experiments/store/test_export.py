"""A Parquet file has the rows of the database, and appears complete or not at all."""

import resource
import sys
import tracemalloc
from datetime import timedelta

import pytest
from pyarrow import parquet

from serve_app.experiments.records import Variant
from serve_app.experiments.store import ExperimentStore, LabelledPrediction
from serve_app.experiments.store.export import export_parquet
from serve_app.experiments.store_errors import ExportError, MissingPackageError
from tests.serve_app.experiments.store.builders import START, definition, outcome, prediction

pytestmark = pytest.mark.slow


@pytest.fixture
def store(url):
    with ExperimentStore(url) as store:
        store.create_experiment(definition(), START)
        yield store


def test_rows(store, tmp_path):
    """The file contains every prediction with its outcome."""
    store.write_predictions(
        [
            prediction(
                "a",
                after_s=0.000001,
                treatment_share=0.1,
                unit_id="bot-1",
                hold_probability=0.125,
                buy_probability=0.75,
                sell_probability=0.125,
                timeframe="1h",
                bar=START,
            ),
            prediction("b", Variant.TREATMENT, 1.0, error="timeout"),
            prediction("c", None, 2.0),
        ]
    )
    store.record_outcomes([outcome("a", -0.0, after_s=60)])
    path = tmp_path / "all.parquet"
    assert export_parquet(store.predictions(), path) == 3
    first, second, third = parquet.read_table(path).to_pylist()
    assert first == {
        "prediction_id": "a",
        "variant": "control",
        "experiment_id": "e1",
        "time": START + timedelta(microseconds=1),
        "model": "m",
        "version": "1.0.0",
        "symbol": "BTCUSDT",
        "direction": 1,
        "confidence": 0.75,
        "expected_return": 0.002,
        "latency_ms": 1.5,
        "error": None,
        "treatment_share": 0.1,
        "mirrored": False,
        "unit_id": "bot-1",
        "hold_probability": 0.125,
        "buy_probability": 0.75,
        "sell_probability": 0.125,
        "timeframe": "1h",
        "bar": START,
        "market_return": 0.0,
        "outcome_time": START + timedelta(seconds=60),
    }
    assert (second["variant"], second["error"], second["direction"]) == (
        "treatment",
        "timeout",
        None,
    )
    assert (third["variant"], third["experiment_id"], third["market_return"]) == (None, None, None)
    assert (third["hold_probability"], third["bar"]) == (None, None)


def test_no_predictions(store, tmp_path):
    """An experiment without predictions results in a file without rows."""
    assert export_parquet(store.predictions("e1"), tmp_path / "e1.parquet") == 0
    assert parquet.read_table(tmp_path / "e1.parquet").num_rows == 0


def test_pages(store):
    """A time range is read in pages without gaps, although predictions share times across pages."""
    records = [prediction(f"p{number:05}", after_s=number // 3000) for number in range(25_000)]
    store.write_predictions(records)
    since, until = START + timedelta(seconds=1), START + timedelta(seconds=8)
    read = [labelled.prediction for labelled in store.predictions("e1", since=since, until=until)]
    assert read == records[3000:24_000]


def test_memory(tmp_path):
    """The memory does not grow with the number of rows."""

    def peak_bytes(count):
        record = LabelledPrediction(prediction("a"), None)
        tracemalloc.start()
        export_parquet((record for _ in range(count)), tmp_path / "x.parquet")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert peak_bytes(400_000) < 1.2 * peak_bytes(100_000)


def test_failed_export(tmp_path):
    """A failed export leaves the existing file unchanged."""
    path = tmp_path / "x.parquet"
    path.write_bytes(b"before")
    rows = (LabelledPrediction(prediction(f"p{number}"), None) for number in range(200_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(ExportError, match=r"x\.parquet: .*; choose a writable path"):
            export_parquet(rows, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder(tmp_path):
    """The error names the missing folder."""
    with pytest.raises(ExportError, match="nowhere"):
        export_parquet(iter([]), tmp_path / "nowhere" / "x.parquet")


def test_without_pyarrow(tmp_path, monkeypatch):
    """Without pyarrow the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"pyarrow.*install tradeserve\[export\]"):
        export_parquet(iter([]), tmp_path / "x.parquet")
