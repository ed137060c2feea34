"""The rows of one symbol in a dataset, each computed from what was known at its time."""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from features.bar_log import BarReader
from features.bars import LATEST_MS, Ints, KnownBars
from features.datasets.definition import DatasetDefinition
from features.datasets.manifest import SeriesManifest
from features.datasets.parquet_files import Rows
from features.datasets.point_in_time import (
    Segment,
    complete_windows,
    outcomes,
    segments,
)
from features.feature_sets import FeatureSet, compute_rows
from features.labels import BUY, HOLD, SELL
from features.revisions import Series
from features.times import iso

CHUNK_BARS = 16_384
"""The bars of which features are computed at once, which bounds the memory."""

_NAMES = {HOLD: "HOLD", BUY: "BUY", SELL: "SELL"}


def read_rows(
    reader: BarReader, feature_set: FeatureSet, definition: DatasetDefinition, symbol: str
) -> KnownBars:
    """Return every row that was known at the time of the view, from the first window on.

    The bars after the range are included: they decide which outcomes a server would have recorded.

    Raises:
        UnknownSeriesError: the log has no bar of the symbol in the feature set's timeframe.
    """
    depth, timeframe = definition.depth(feature_set), feature_set.timeframe
    first, as_of = definition.first_ms, definition.as_of_ms
    window = reader.window(symbol, timeframe, depth, first, as_of)
    begin = int(window.time[0]) if len(window) else first
    rows = reader.rows(symbol, timeframe, begin, LATEST_MS)
    return rows.take(rows.known_at <= as_of)


class SeriesRows:
    """Computes the rows of one symbol, and counts them.

    Args:
        symbol: the symbol.
        known: its rows by time and known_at, all known at the time of the view.
        feature_set: the feature set.
        definition: what the dataset contains.
        runs: the number of runs before.
    """

    def __init__(
        self,
        symbol: str,
        known: KnownBars,
        feature_set: FeatureSet,
        definition: DatasetDefinition,
        runs: int = 0,
    ) -> None:
        self._symbol, self._feature_set = symbol, feature_set
        self._timesteps, self._depth = definition.timesteps, definition.depth(feature_set)
        self._series = Series.of(known)
        self._time, self._known_at = self._series.time, self._series.known_at
        self._outcomes = outcomes(self._series, definition.rule)
        self._is_in_range = (self._time >= definition.first_ms) & (self._time <= definition.last_ms)
        self._is_complete = complete_windows(self._series, self._depth)
        self._is_sample = self._is_in_range & self._is_complete & self._outcomes.is_known
        self._rows = 0
        self.runs = runs
        """The number of runs so far."""

    def blocks(self) -> Iterator[tuple[float, Rows]]:
        """Yield the rows of the samples, with the share that is done."""
        for segment in segments(self._series, self._is_complete, self._depth):
            samples = np.flatnonzero(self._is_sample[segment.start : segment.stop])
            if not len(samples):
                continue
            trimmed = _trim(segment, int(samples[0]), int(samples[-1]) + 1, self._depth)
            for block in self._rows_of(trimmed):
                self._rows += len(block)
                yield trimmed.stop / len(self._series), block
            self.runs += 1

    def manifest(self) -> SeriesManifest:
        """Return what the series contains, after its blocks."""
        samples = np.flatnonzero(self._is_sample)
        labels = self._outcomes.labels[samples]
        without_outcome = self._is_in_range & self._is_complete & ~self._outcomes.is_known
        known = self._series.rows
        return SeriesManifest(
            symbol=self._symbol,
            bars=len(self._series),
            revisions=len(known) - len(self._series),
            bars_sha256=_digest(known),
            rows=self._rows,
            samples=len(samples),
            labels={name: int(np.sum(labels == label)) for label, name in _NAMES.items()},
            incomplete=int(np.sum(self._is_in_range & ~self._is_complete)),
            without_outcome=int(np.sum(without_outcome)),
            first=iso(int(self._time[samples[0]])) if len(samples) else None,
            last=iso(int(self._time[samples[-1]])) if len(samples) else None,
        )

    def _rows_of(self, segment: Segment) -> Iterator[Rows]:
        """Yield the rows of a run: those of its samples, and `timesteps - 1` before them."""
        lookback = self._feature_set.lookback
        first = segment.start - self._timesteps + 1
        for begin in range(0, len(segment.bars) - lookback + 1, CHUNK_BARS):
            bars = segment.bars.take(slice(begin, begin + CHUNK_BARS + lookback - 1))
            features = compute_rows(self._feature_set, bars)
            yield self._as_rows(
                np.arange(first + begin, first + begin + len(features)), segment.start, features
            )

    def _as_rows(self, at: Ints, start: int, features: NDArray[np.float32]) -> Rows:
        """Return rows of a run that begins with the sample at `start`."""
        horizon = self._outcomes.horizon[at]
        return Rows(
            symbol=self._symbol,
            run=self.runs,
            time=self._time[at],
            # The rows before the first sample are computed from the view of that sample.
            known_at=self._known_at[np.maximum(at, start)],
            is_sample=self._is_sample[at] & (at >= start),
            label=self._outcomes.labels[at],
            market_return=self._outcomes.returns[at],
            horizon_time=self._time[horizon],
            horizon_known_at=self._outcomes.known_at[at],
            features=features,
        )


def _trim(segment: Segment, first: int, stop: int, depth: int) -> Segment:
    """Return the part of a segment from its bar `first` to that before `stop`."""
    bars = segment.bars.take(slice(first, stop + depth - 1))
    return Segment(segment.start + first, segment.start + stop, bars)


def _digest(rows: KnownBars) -> str:
    digest = hashlib.sha256()
    for column in (rows.time, rows.known_at, rows.values):
        little = np.dtype(column.dtype).newbyteorder("<")
        digest.update(np.ascontiguousarray(column, little).tobytes())
    return digest.hexdigest()
