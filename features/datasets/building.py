"""Builds a dataset from the bars of a log, as they were known when predictions would be made."""

import hashlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.bar_log import BarReader
from features.bar_log.files import write_durably
from features.bars import EARLIEST_MS, LATEST_MS
from features.datasets.definition import DatasetDefinition
from features.datasets.errors import EmptyDatasetError, InvalidDefinitionError
from features.datasets.manifest import (
    FeatureSetManifest,
    Manifest,
    SeriesManifest,
    manifest_path,
)
from features.datasets.parquet_files import Rows, write_rows
from features.datasets.series_rows import SeriesRows, read_rows
from features.feature_sets import FeatureSet, InstalledFeatureSet, digest_source
from features.times import iso


def build_dataset(
    reader: BarReader,
    installed: InstalledFeatureSet,
    definition: DatasetDefinition,
    path: Path,
    progress: Callable[[float], None] | None = None,
) -> Manifest:
    """Write a dataset and its manifest beside it; both replace those that exist.

    The same bars and the same definition give the same bytes with the same software.

    Args:
        reader: the log's.
        installed: the feature set, which should have passed its check.
        definition: what the dataset contains.
        path: the file, which ends in `.parquet`.
        progress: called with the share that is done.

    Raises:
        UnknownSeriesError: the log has no bar of a symbol in the feature set's timeframe.
        EmptyDatasetError: there is no sample.
        InvalidRowsError: the feature set failed or returned invalid rows.
        InvalidDefinitionError: the file's name does not end in `.parquet`.
    """
    if path.suffix != ".parquet":
        raise InvalidDefinitionError("file", "a name that ends in .parquet", path.name)
    feature_set = installed.feature_set
    found: list[SeriesManifest] = []

    def write(beside: Path) -> None:
        def blocks() -> Iterator[Rows]:
            runs = 0
            for position, symbol in enumerate(definition.symbols):
                known = read_rows(reader, feature_set, definition, symbol)
                series = SeriesRows(symbol, known, feature_set, definition, runs)
                for done, block in series.blocks():
                    if progress is not None:
                        progress((position + done) / len(definition.symbols))
                    yield block
                runs = series.runs
                found.append(series.manifest())

        write_rows(beside, feature_set.feature_names, blocks())
        if not any(series.samples for series in found):
            needed = definition.depth(feature_set) + definition.rule.horizon_bars
            late = _first_known(reader, feature_set, definition)
            raise EmptyDatasetError("; ".join([*map(_counts, found), *late]), needed)

    write_durably(path, write)
    manifest = Manifest(
        feature_set=FeatureSetManifest(
            name=feature_set.name,
            version=feature_set.version,
            sha256=installed.source.sha256,
            timeframe=feature_set.timeframe.name,
            lookback=feature_set.lookback,
            feature_names=feature_set.feature_names,
        ),
        timesteps=definition.timesteps,
        horizon_bars=definition.rule.horizon_bars,
        dead_band=definition.rule.dead_band,
        first=iso(definition.first_ms),
        last=iso(definition.last_ms),
        as_of=iso(definition.as_of_ms),
        series=tuple(found),
        samples=sum(series.samples for series in found),
        file_sha256=_sha256_of(path),
        code=code_versions(),
    )
    write_durably(manifest_path(path), lambda beside: _write(beside, manifest))
    return manifest


def code_versions() -> dict[str, str]:
    """Return the versions of the software that builds datasets, and the digest of its source."""
    return {
        "tradeserve": version("tradeserve"),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "sha256": digest_source(__name__).sha256,
    }


def _first_known(
    reader: BarReader, feature_set: FeatureSet, definition: DatasetDefinition
) -> Iterator[str]:
    """Yield, for each symbol without bars in the view, when the log learned the first one."""
    for symbol in definition.symbols:
        rows = reader.rows(symbol, feature_set.timeframe, EARLIEST_MS, LATEST_MS)
        if len(rows) and rows.known_at.min() > definition.as_of_ms:
            first = iso(int(rows.known_at.min()))
            yield f"the log learned the first bar of {symbol} at {first}, after the view"


def _counts(series: SeriesManifest) -> str:
    return (
        f"{series.symbol} has {series.bars} bars, of which {series.incomplete} have no complete "
        f"window and {series.without_outcome} others no outcome"
    )


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, manifest: Manifest) -> None:
    path.write_bytes(manifest.dump())
