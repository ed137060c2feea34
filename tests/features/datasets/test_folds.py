"""Walk-forward folds, compared with those of purgedcv and skfolio."""

import numpy as np
import pandas
import purgedcv
import pytest

from features.datasets.errors import InvalidFoldsError
from features.datasets.folds import walk_forward

HOUR_MS = 3_600_000
HORIZON = 4
SETTINGS = [
    {"folds": 3, "test_bars": 50},
    {"folds": 5},
    {"folds": 3, "test_bars": 40, "train_bars": 60},
    {"folds": 2, "test_bars": 30, "purge_bars": 9},
    {"folds": 4, "test_bars": 25, "embargo_bars": 12},
    {"folds": 4, "test_bars": 25, "embargo_bars": 5, "purge_bars": 7, "train_bars": 30},
]


def bars(count=300, *, gaps=False, seed=0):
    """Return the times of bars, and those of the bars at their horizons."""
    steps = np.ones(count + HORIZON, np.int64)
    if gaps:
        steps = np.random.default_rng(seed).choice([1, 1, 1, 49], count + HORIZON)
    times = np.cumsum(steps) * HOUR_MS
    return times[:count], times[HORIZON:]


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_no_leak(settings, gaps):
    """Training ends before the test by purge and embargo, and so do its labels."""
    times, horizons = bars(gaps=gaps)
    gap = settings.get("purge_bars", HORIZON) + settings.get("embargo_bars", 0)
    folds = walk_forward(times, horizons, HORIZON, **settings)
    assert len(folds) == settings["folds"]
    for fold in folds:
        assert fold.train[-1] + gap < fold.test[0]
        assert horizons[fold.train].max() < times[fold.test].min()
    tests = np.concatenate([fold.test for fold in folds])
    assert np.array_equal(tests, np.arange(tests[0], len(times)))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_skfolio(settings):
    """The folds are those of skfolio's WalkForward, whose gap is purge and embargo together."""
    # Imported here, since it takes seconds.
    from skfolio import model_selection

    times, horizons = bars()
    folds = walk_forward(times, horizons, HORIZON, **settings)
    test_bars = settings.get("test_bars", len(times) // (settings["folds"] + 1))
    gap = settings.get("purge_bars", HORIZON) + settings.get("embargo_bars", 0)
    is_expanding = "train_bars" not in settings
    first = len(times) - settings["folds"] * test_bars
    peer = model_selection.WalkForward(
        test_size=test_bars,
        train_size=settings.get("train_bars", first - gap),
        expand_train=is_expanding,
        purged_size=gap,
    )
    # Its first test follows the shortest training; ours are at the end of the samples.
    unused = 0 if is_expanding else first - gap - settings["train_bars"]
    expected = list(peer.split(np.zeros((len(times) - unused, 1))))
    assert len(expected) == len(folds)
    for fold, (train, test) in zip(folds, expected, strict=True):
        assert np.array_equal(fold.train, train + unused)
        assert np.array_equal(fold.test, test + unused)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("settings", [s for s in SETTINGS if "purge_bars" not in s], ids=str)
def test_purgedcv(settings, gaps):
    """The folds are those of purgedcv's WalkForwardSplit, which purges by the labels' times.

    It keeps a sample whose label ends when the test begins; here that label counts as unknown,
    since its bar is received after its end. It has no embargo before a test.
    """
    if "embargo_bars" in settings:
        settings = {key: value for key, value in settings.items() if key != "embargo_bars"}
    times, horizons = bars(gaps=gaps)
    folds = walk_forward(times, horizons, HORIZON, **settings)
    test_bars = settings.get("test_bars", len(times) // (settings["folds"] + 1))
    closes, later_closes = (
        pandas.Series(pandas.to_datetime(of + HOUR_MS, unit="ms")) for of in (times, horizons)
    )
    peer = purgedcv.WalkForwardSplit(
        settings["folds"],
        test_bars,
        train_size=settings.get("train_bars"),
        window="sliding" if "train_bars" in settings else "expanding",
        prediction_times=closes,
        evaluation_times=later_closes + pandas.Timedelta(milliseconds=1),
        purge_horizon=pandas.Timedelta(0),
    )
    for fold, (train, test) in zip(folds, peer.split(np.zeros((len(times), 1))), strict=True):
        assert np.array_equal(fold.train, train)
        assert np.array_equal(fold.test, test)


def test_symbols():
    """Samples of one time are on the same side, whatever the order of the symbols."""
    times, horizons = bars(gaps=True)
    other = times[::2]
    both = np.concatenate([times, other])
    ends = np.concatenate([horizons, np.append(other[3:], np.repeat(horizons[-1], 3))])
    for fold in walk_forward(both, ends, HORIZON, folds=3, embargo_bars=2):
        assert ends[fold.train].max() < both[fold.test].min()
        assert (np.diff(both[fold.train]) >= 0).all()
        assert set(both[fold.test].tolist()) & set(other.tolist())
        assert not set(both[fold.train].tolist()) & set(both[fold.test].tolist())


def test_missing_samples():
    """A label that spans missing samples is purged although its bar is far from the test."""
    times, horizons = bars()
    kept = np.r_[0:150, 160:300]
    long_horizon = horizons[kept].copy()
    long_horizon[140] = times[kept][220]
    (fold,) = walk_forward(times[kept], long_horizon, HORIZON, folds=1, test_bars=100)
    assert 140 not in fold.train
    assert 139 in fold.train


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"folds": 2, "purge_bars": 3}, "a purge of at least the horizon of 4 bars, received 3"),
        ({"folds": 0}, "folds of at least 1, received 0"),
        ({"folds": 400}, "test_bars of at least 1, received 0"),
        ({"folds": 2, "embargo_bars": -1}, "embargo_bars of at least 0, received -1"),
        ({"folds": 2, "train_bars": 0}, "train_bars of at least 1, received 0"),
        ({"folds": 3, "test_bars": 99}, "fold 1 of 3 has no sample for training"),
        ({"folds": 3, "test_bars": 200}, "begins after 0 bars, of which 4 are left out"),
    ],
)
def test_invalid(settings, problem):
    """A purge below the horizon and folds without training are rejected with the remedy."""
    with pytest.raises(InvalidFoldsError, match=problem) as caught:
        walk_forward(*bars(), HORIZON, **settings)
    assert "; " in str(caught.value)
