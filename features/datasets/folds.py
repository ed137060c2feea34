"""Walk-forward folds: training precedes the test, and no label of it extends into the test. Pure.

Folds are made of times, not of samples, so that the symbols of one time are on the same side.
"""

from dataclasses import dataclass

import numpy as np

from features.bars import Ints
from features.datasets.errors import InvalidFoldsError


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """The samples of one fold, as positions in ascending order of time."""

    train: Ints
    """The samples for training, all before the test."""
    test: Ints
    """The samples for the test."""


def walk_forward(
    times: Ints,
    horizon_times: Ints,
    horizon_bars: int,
    folds: int,
    *,
    test_bars: int | None = None,
    train_bars: int | None = None,
    purge_bars: int | None = None,
    embargo_bars: int = 0,
) -> list[Fold]:
    """Return folds whose tests are consecutive parts at the end of the samples.

    At least `purge_bars + embargo_bars` bars lie between a training sample and the test, and the
    bar at its horizon is before the test as well, whatever gaps the samples have.

    Args:
        times: the bar of each sample.
        horizon_times: the bar at the horizon of each sample.
        horizon_bars: the horizon of the labels.
        folds: the number of folds.
        test_bars: the number of bars of a test; by default the bars divided by `folds + 1`.
        train_bars: the number of the last bars before the gap that are used for training; by
            default all of them, an expanding window.
        purge_bars: the number of bars before the test that are left out since their labels may
            extend into it; by default the horizon.
        embargo_bars: the number of further bars that are left out, since their returns are
            correlated with those of the test.

    Raises:
        InvalidFoldsError: a number is too small, or a fold has no sample for training.
    """
    purge_bars = horizon_bars if purge_bars is None else purge_bars
    if purge_bars < horizon_bars:
        raise InvalidFoldsError(
            f"expected a purge of at least the horizon of {horizon_bars} bars, received "
            f"{purge_bars}",
            "pass a larger purge_bars, or none",
        )
    bars, position = np.unique(times, return_inverse=True)
    test_bars = len(bars) // (folds + 1) if test_bars is None and folds > 0 else test_bars
    for name, value, least in (
        ("folds", folds, 1),
        ("embargo_bars", embargo_bars, 0),
        ("test_bars", 1 if test_bars is None else test_bars, 1),
        ("train_bars", 1 if train_bars is None else train_bars, 1),
    ):
        if value < least:
            raise InvalidFoldsError(
                f"expected {name} of at least {least}, received {value}, for {len(bars)} bars",
                "use fewer folds or more samples",
            )
    assert test_bars is not None
    found = []
    for fold in range(folds):
        start = len(bars) - (folds - fold) * test_bars
        stop = start - purge_bars - embargo_bars
        if stop < 1:
            raise InvalidFoldsError(
                f"fold {fold + 1} of {folds} has no sample for training: its test begins after "
                f"{max(start, 0)} bars, of which {purge_bars + embargo_bars} are left out",
                "use fewer or shorter folds, or more samples",
            )
        begin = 0 if train_bars is None else max(0, stop - train_bars)
        is_train = (position >= begin) & (position < stop) & (horizon_times < bars[start])
        is_test = (position >= start) & (position < start + test_bars)
        found.append(Fold(_by_time(is_train, times), _by_time(is_test, times)))
    return found


def _by_time(is_chosen: np.ndarray[tuple[int], np.dtype[np.bool_]], times: Ints) -> Ints:
    chosen = np.flatnonzero(is_chosen)
    return chosen[np.argsort(times[chosen], kind="stable")]
