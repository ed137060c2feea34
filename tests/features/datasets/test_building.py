"""Datasets that are built from a bar log."""

import hashlib
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from features import Bars, Symbol
from features.bar_log import BarLog, BarReader
from features.bars import LATEST_MS
from features.datasets import Dataset, DatasetDefinition, build_dataset
from features.datasets.errors import EmptyDatasetError, InvalidDefinitionError
from features.errors import InvalidRowsError, UnknownSeriesError
from features.feature_sets import InstalledFeatureSet, SourceDigest
from features.labels import LabelRule
from testkit.feature_sets import HOURLY, ToyFeatureSet, random_bars
from tests.features.datasets.logs import TOY

INSTALLED = InstalledFeatureSet(TOY, "acme", SourceDigest("a" * 64, ("acme",)))
END_MS = int(random_bars(200, 1).time[-1]) + 2 * HOURLY.length_ms


def definition(**fields):
    settings = {
        "symbols": (Symbol("EURUSD"), Symbol("GBPUSD")),
        "rule": LabelRule(4, 0.0005),
        "as_of_ms": LATEST_MS,
        "timesteps": 5,
    }
    return DatasetDefinition(**{**settings, **fields})


@pytest.fixture
def folder(tmp_path):
    """The folder of a log with two symbols, one of them revised."""
    folder = tmp_path / "log"
    with BarLog(folder) as log:
        for seed, symbol in enumerate(("EURUSD", "GBPUSD")):
            bars = random_bars(200, seed)
            for part in (slice(150), slice(150, None)):
                pushed = bars.take(part)
                log.append(symbol, HOURLY, pushed, int(pushed.time[-1]) + HOURLY.length_ms)
        revised = bars.take(slice(100, 102))
        log.append("GBPUSD", HOURLY, Bars(revised.time, revised.values * 1.1), END_MS)
    return folder


@pytest.fixture
def build(folder, tmp_path):
    """Return a function that builds a dataset, and returns its path and its manifest."""
    reader = BarReader.open(folder)

    def run(name="a.parquet", installed=INSTALLED, **fields):
        path = tmp_path / name
        return path, build_dataset(reader, installed, definition(**fields), path)

    yield run
    reader.close()


def contents(path):
    return path.read_bytes(), path.with_name(f"{path.name}.manifest.json").read_bytes()


def test_same_bytes(build):
    """The same bars give the same bytes, under any name."""
    first, manifest = build("a.parquet")
    second, _ = build("b.parquet")
    assert contents(first) == contents(second)
    assert hashlib.sha256(contents(first)[1]).hexdigest() == manifest.sha256
    assert contents(build("a.parquet", timesteps=6)[0]) != contents(second)


def test_later_bars(build, folder):
    """What the log learns after the view changes no byte."""
    view = {"as_of_ms": END_MS}
    before = contents(build(**view)[0])
    with BarLog(folder) as log:
        bars = random_bars(260)
        log.append("EURUSD", HOURLY, bars, int(bars.time[-1]) + HOURLY.length_ms)
        log.append("EURUSD", HOURLY, Bars(bars.time, bars.values * 1.2), int(bars.time[-1]) + 10**9)
        log.compact()
    assert contents(build(**view)[0]) == before
    assert contents(build()[0]) != before


def test_manifest(build):
    """The manifest names the feature set, the bars, the ranges, the counts and the software."""
    path, manifest = build(first_ms=0)
    stored = json.loads(contents(path)[1])
    assert stored["feature_set"] == {
        "name": "toy",
        "version": "1",
        "sha256": "a" * 64,
        "timeframe": "1h",
        "lookback": 3,
        "feature_names": ["change", "volume"],
    }
    assert stored["file_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (stored["timesteps"], stored["horizon_bars"], stored["dead_band"]) == (5, 4, 0.0005)
    assert (stored["first"], stored["as_of"]) == (
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999000Z",
    )
    series = {found["symbol"]: found for found in stored["series"]}
    assert series["GBPUSD"]["revisions"] == 2
    assert series["GBPUSD"]["bars_sha256"] != series["EURUSD"]["bars_sha256"]
    assert stored["samples"] == sum(found["samples"] for found in series.values())
    assert set(stored["code"]) == {"tradeserve", "numpy", "pyarrow", "sha256"}
    info = manifest.dataset_info
    assert (info["manifest_sha256"], info["horizon_bars"], info["dead_band"]) == (
        manifest.sha256,
        4,
        0.0005,
    )


def test_columns(build):
    """The Parquet file can be read without this software."""
    path, manifest = build()
    table = pq.read_table(path)
    assert table.column_names[-2:] == ["f_change", "f_volume"]
    assert table.num_rows == sum(series.rows for series in manifest.series)
    samples = table.filter(table["is_sample"])
    assert samples.num_rows == manifest.samples
    assert samples["label"].null_count == samples["market_return"].null_count == 0
    assert str(table.schema.field("time").type) == "timestamp[ms, tz=UTC]"


def test_read(build):
    """The windows of a dataset end at their bars, and are those of the feature set."""
    path, _ = build(symbols=(Symbol("EURUSD"),))
    dataset = Dataset.read(path)
    bars = random_bars(200)
    rows = TOY.compute(bars)
    at = np.searchsorted(bars.time, dataset.times)
    for sample, bar in enumerate(at.tolist()):
        assert np.array_equal(dataset[sample : sample + 1].windows[0], rows[bar - 6 : bar - 1])
    assert np.array_equal(dataset.returns, bars.close[at + 4] / bars.close[at] - 1)


@pytest.mark.parametrize("late", [True, False])
def test_empty(build, late):
    """A dataset without a sample is not written, and the error says what is missing."""
    fields = {"as_of_ms": 0} if late else {"first_ms": 10**13}
    with pytest.raises(EmptyDatasetError, match=r"EURUSD has .* bars.* a sample needs 11 bars"):
        build("empty.parquet", **fields)
    path = build("a.parquet")[0]
    assert not path.with_name("empty.parquet").exists()


def test_unknown_symbol(build):
    """A symbol that the log does not have is an error."""
    with pytest.raises(UnknownSeriesError, match="'USDJPY'"):
        build(symbols=(Symbol("USDJPY"),))


def test_failed_feature_set(build, tmp_path):
    """A feature set that fails leaves the file as it was."""
    path, _ = build()
    before = contents(path)
    broken = InstalledFeatureSet(
        ToyFeatureSet(function=lambda bars: 1 / 0), "acme", SourceDigest("b" * 64, ("acme",))
    )
    with pytest.raises(InvalidRowsError, match="ZeroDivisionError"):
        build(installed=broken)
    assert contents(path) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "a.parquet",
        "a.parquet.manifest.json",
        "log",
    ]


def test_file_name(build):
    """The file's name states its format."""
    with pytest.raises(InvalidDefinitionError, match=r"ends in \.parquet"):
        build("a.csv")


def test_progress(folder, tmp_path):
    """The share that is done ascends to 1."""
    shares = []
    reader = BarReader.open(folder)
    build_dataset(reader, INSTALLED, definition(), tmp_path / "a.parquet", shares.append)
    reader.close()
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] <= 1
