"""A dataset in memory: samples whose windows are assembled from shared rows."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from features.bars import Floats, Ints
from features.datasets.errors import UnreadableDatasetError
from features.datasets.folds import Fold, walk_forward
from features.datasets.manifest import Manifest, manifest_path
from features.datasets.parquet_files import as_ints, as_texts, read_columns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Samples by symbol and then by time, in the order of the file."""

    manifest: Manifest
    """From what the file was built, and what it contains."""
    rows: NDArray[np.float32]
    """(rows, features): the rows that the windows share."""
    ends: Ints
    """The row of each sample, which is the last one of its window."""
    symbols: NDArray[np.str_]
    """The symbol of each sample."""
    times: Ints
    """The opening of the last bar of each window."""
    known_at: Ints
    """When that bar became known, which is when the prediction would be made."""
    labels: NDArray[np.int64]
    """The correct direction: 0 HOLD, 1 BUY, 2 SELL."""
    returns: Floats
    """The market's return over the horizon as a fraction."""
    horizon_times: Ints
    """The opening of the bar at the horizon."""
    horizon_known_at: Ints
    """When that bar became known."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the dataset in a file, after a comparison with its manifest.

        Raises:
            UnreadableDatasetError: the file or its manifest is missing or damaged.
        """
        beside = manifest_path(path)
        try:
            manifest = Manifest.parse(beside.read_bytes(), beside)
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise UnreadableDatasetError(str(path), str(error)) from error
        if found != manifest.file_sha256:
            problem = f"expected sha256 {manifest.file_sha256} as in {beside.name}, found {found}"
            raise UnreadableDatasetError(str(path), problem)
        columns, rows = read_columns(path, manifest.feature_set.feature_names)
        ends = np.flatnonzero(columns["is_sample"].to_numpy())
        return cls(
            manifest=manifest,
            rows=rows,
            ends=ends,
            symbols=as_texts(columns["symbol"])[ends],
            times=as_ints(columns["time"])[ends],
            known_at=as_ints(columns["known_at"])[ends],
            labels=as_ints(columns["label"])[ends],
            returns=columns["market_return"].to_numpy()[ends],
            horizon_times=as_ints(columns["horizon_time"])[ends],
            horizon_known_at=as_ints(columns["horizon_known_at"])[ends],
        )

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, chosen: slice | Ints | NDArray[np.bool_]) -> "Dataset":
        """Return some of the samples; they share the rows."""
        return replace(
            self,
            ends=self.ends[chosen],
            symbols=self.symbols[chosen],
            times=self.times[chosen],
            known_at=self.known_at[chosen],
            labels=self.labels[chosen],
            returns=self.returns[chosen],
            horizon_times=self.horizon_times[chosen],
            horizon_known_at=self.horizon_known_at[chosen],
        )

    @property
    def windows(self) -> NDArray[np.float32]:
        """(samples, timesteps, features): a view of the rows if the samples are consecutive rows,
        otherwise a copy, so take the samples of a batch first."""
        timesteps = self.manifest.timesteps
        # The view has the axis of the window last; models expect time before the features.
        views = sliding_window_view(self.rows, timesteps, axis=0).transpose(0, 2, 1)
        starts = self.ends - timesteps + 1
        if len(starts) and (np.diff(starts) == 1).all():
            return views[starts[0] : starts[-1] + 1]
        return np.ascontiguousarray(views[starts])

    def splits(
        self,
        folds: int,
        *,
        test_bars: int | None = None,
        train_bars: int | None = None,
        purge_bars: int | None = None,
        embargo_bars: int = 0,
    ) -> list[Fold]:
        """Return walk-forward folds; see `features.datasets.folds.walk_forward`.

        Raises:
            InvalidFoldsError: a number is too small, or a fold has no sample for training.
        """
        return walk_forward(
            self.times,
            self.horizon_times,
            self.manifest.horizon_bars,
            folds,
            test_bars=test_bars,
            train_bars=train_bars,
            purge_bars=purge_bars,
            embargo_bars=embargo_bars,
        )
