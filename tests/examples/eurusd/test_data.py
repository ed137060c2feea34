"""The market data, its features and its labels."""

from dataclasses import replace

import numpy as np
import pytest

from examples.eurusd.data import DataError, read_bars
from examples.eurusd.dataset import (
    DEAD_BAND,
    HORIZON_BARS,
    TIMESTEPS,
    forward_returns,
    label_returns,
    make_samples,
    split_samples,
)
from examples.eurusd.features import CLIP, FEATURE_NAMES, LOOKBACK_BARS, compute_features
from examples.eurusd.sample import SAMPLE_FILE, render_sample

FIELDS = ("open", "high", "low", "close", "volume")


def change_after(bars, last):
    """Return the bars with random values after index `last`."""
    random = np.random.default_rng(0)
    changed = {}
    for field in FIELDS:
        values = getattr(bars, field).copy()
        values[last + 1 :] *= random.uniform(0.5, 2, len(values) - last - 1)
        changed[field] = values
    time = bars.time.copy()
    time[last + 1 :] += np.timedelta64(100, "h")
    return replace(bars, time=time, **changed)


def test_bars(bars):
    """The year has 6225 consistent bars."""
    assert len(bars) == 6225
    assert str(bars.time[0]) == "2017-01-01T22:00:00"
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()


def test_feature_names(bars):
    """There are 110 features with unique names."""
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES) == 110
    assert compute_features(bars).shape == (len(bars) - LOOKBACK_BARS + 1, 110)


def test_features(bars):
    """Features are finite and clipped, and none is constant."""
    features = compute_features(bars)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= CLIP
    assert (features.std(axis=0) > 0.05).all()


def test_constant_prices(bars):
    """Constant prices give finite features."""
    level = np.full(300, 1.1)
    flat = replace(bars[:300], open=level, high=level, low=level, close=level)
    assert np.isfinite(compute_features(flat)).all()


@pytest.mark.parametrize("last", [LOOKBACK_BARS - 1, 300, 351, 398])
def test_causality(bars, last):
    """Changing every later bar leaves earlier features identical to the bit."""
    bars = bars[1000:1400]
    known = last - LOOKBACK_BARS + 2
    before, after = compute_features(bars), compute_features(change_after(bars, last))
    assert before[:known].tobytes() == after[:known].tobytes()
    # The later features do depend on the change.
    assert (before[known] != after[known]).any()


def test_lookback(bars, samples):
    """A bot with only the lookback computes the window on which the network was trained."""
    for position in (0, 777, len(samples) - 1):
        last = samples.bars[position]
        held = bars[last - LOOKBACK_BARS - TIMESTEPS + 2 : last + 1]
        assert np.array_equal(compute_features(held), samples.windows[position])


def test_too_few_bars(bars):
    """Too few bars for one row of features, or for one sample, are an error."""
    with pytest.raises(ValueError, match=f"at least {LOOKBACK_BARS} bars, received 240"):
        compute_features(bars[: LOOKBACK_BARS - 1])
    needed = LOOKBACK_BARS + TIMESTEPS + HORIZON_BARS - 1
    assert len(make_samples(bars[:needed])) == 1
    with pytest.raises(ValueError, match=f"at least {needed} bars"):
        make_samples(bars[: needed - 1])


def test_forward_returns():
    """A return spans from the close of a bar to the close one horizon later."""
    close = np.array([1.0, 1.1, 1.2, 0.6])
    assert forward_returns(close, 2) == pytest.approx([0.2, 0.6 / 1.1 - 1])


def test_labels():
    """Labels are HOLD within the dead band, its edges included, and the sign beyond it."""
    returns = np.array([0.002, 0.001, 0.0, -0.001, -0.002])
    assert label_returns(returns, dead_band=0.001).tolist() == [1, 0, 0, 0, 2]


def test_sample_labels(bars, samples):
    """Each sample has the label of the return after its last bar."""
    for position in (0, 1234, len(samples) - 1):
        bar = samples.bars[position]
        market = bars.close[bar + HORIZON_BARS] / bars.close[bar] - 1
        assert samples.returns[position] == pytest.approx(market, abs=1e-15)
        direction = 0 if abs(market) <= DEAD_BAND else 1 if market > 0 else 2
        assert samples.labels[position] == direction


def test_split_boundaries(samples):
    """No label of a part extends into the next part, and no further sample is omitted."""
    split = split_samples(samples)
    for part, following in ((split.train, split.validation), (split.validation, split.test)):
        label_ends = part.bars[-1] + HORIZON_BARS
        next_label_starts = following.bars[0]
        assert label_ends < next_label_starts
        assert label_ends + 1 == next_label_starts


def test_split_order(samples):
    """The parts contain all other samples in order."""
    split = split_samples(samples)
    parts = (split.train, split.validation, split.test)
    assert sum(len(part) for part in parts) == len(samples) - 2 * HORIZON_BARS
    assert split.train.bars[0] == samples.bars[0]
    assert split.test.bars[-1] == samples.bars[-1]


def test_class_shares(samples):
    """Each class is about a third of the training part."""
    train = split_samples(samples).train
    shares = np.bincount(train.labels) / len(train)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.03)


def test_sample_request(bars):
    """The sample request is the one that the code generates."""
    assert SAMPLE_FILE.read_text() == render_sample(bars)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no file at"),
        ("Time,Close\n01.01.2017 22:00:00.000,1.0\n", "expected the columns"),
        ("Time,Open,High,Low,Close,Volume\n01.01.2017 22:00:00.000,1,1,1,x,1\n", "'x'"),
        (
            "Time,Open,High,Low,Close,Volume\n"
            "01.01.2017 22:00:00.000,1,1,1,1,1\n01.01.2017 21:00:00.000,1,1,1,1,1\n",
            "not in chronological order",
        ),
    ],
)
def test_invalid_file(tmp_path, content, problem):
    """A file without bars is rejected with the reason."""
    path = tmp_path / "bars.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=problem):
        read_bars(path)
