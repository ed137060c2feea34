"""Datasets in memory, and files that are not those of their manifest."""

import json

import numpy as np
import pytest

from features import Symbol
from features.bar_log import BarLog
from features.bars import LATEST_MS
from features.datasets import Dataset, DatasetDefinition, build_dataset
from features.datasets.errors import InvalidFoldsError, UnreadableDatasetError
from features.feature_sets import InstalledFeatureSet, SourceDigest
from features.labels import LabelRule
from testkit.feature_sets import HOURLY, random_bars
from tests.features.datasets.logs import TOY

INSTALLED = InstalledFeatureSet(TOY, "acme", SourceDigest("a" * 64, ("acme",)))


@pytest.fixture
def path(tmp_path):
    """The file of a dataset of two symbols."""
    symbols = (Symbol("EURUSD"), Symbol("GBPUSD"))
    of = DatasetDefinition(
        symbols=symbols, rule=LabelRule(4, 0.0005), as_of_ms=LATEST_MS, timesteps=5
    )
    with BarLog(tmp_path / "log") as log:
        for seed, symbol in enumerate(symbols):
            bars = random_bars(150, seed)
            log.append(symbol, HOURLY, bars, int(bars.time[-1]) + HOURLY.length_ms)
        build_dataset(log.reader, INSTALLED, of, tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_samples(path):
    """The arrays have one element per sample, by symbol and then by time."""
    dataset = Dataset.read(path)
    assert len(dataset) == dataset.manifest.samples == len(dataset.windows) == 2 * (150 - 6 - 4)
    assert dataset.windows.shape[1:] == (5, 2)
    assert dataset.symbols.tolist() == sorted(dataset.symbols.tolist())
    assert set(np.unique(dataset.labels)) == {0, 1, 2}
    assert (dataset.horizon_times > dataset.times).all()
    assert (dataset.horizon_known_at >= dataset.known_at).all()


def test_part(path):
    """Some samples share the rows, and have the same windows."""
    dataset = Dataset.read(path)
    chosen = np.array([3, 200, 7])
    part = dataset[chosen]
    assert len(part) == 3
    assert part.rows is dataset.rows
    assert np.array_equal(part.windows, dataset.windows[chosen])
    assert np.array_equal(part.times, dataset.times[chosen])
    assert len(dataset[dataset.symbols == "GBPUSD"]) == 140


def test_splits(path):
    """The folds purge at least the horizon of the labels."""
    dataset = Dataset.read(path)
    for fold in dataset.splits(3, embargo_bars=10):
        assert dataset.horizon_times[fold.train].max() < dataset.times[fold.test].min()
    with pytest.raises(InvalidFoldsError, match="horizon of 4 bars"):
        dataset.splits(3, purge_bars=2)


def test_damaged(path):
    """A file that is not that of its manifest is rejected."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableDatasetError, match=r"expected sha256 .* modelctl dataset build"):
        Dataset.read(path)


@pytest.mark.parametrize("missing", ["a.parquet", "a.parquet.manifest.json"])
def test_missing(path, missing):
    """A missing file or manifest is named."""
    path.with_name(missing).unlink()
    with pytest.raises(UnreadableDatasetError, match="No such file"):
        Dataset.read(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1}'])
def test_no_manifest(path, text):
    """A file that is no manifest of this format is rejected."""
    path.with_name("a.parquet.manifest.json").write_text(text)
    with pytest.raises(
        UnreadableDatasetError, match=r"manifest\.json: (it is no|expected a) manif"
    ):
        Dataset.read(path)


def test_other_columns(path):
    """A manifest of other features is rejected."""
    beside = path.with_name("a.parquet.manifest.json")
    stored = json.loads(beside.read_text())
    stored["feature_set"]["feature_names"] = ["change", "range"]
    beside.write_text(json.dumps(stored))
    with pytest.raises(UnreadableDatasetError, match="its columns are not those of the manifest"):
        Dataset.read(path)
