"""The market data and its labels."""

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
from examples.eurusd.features import FEATURE_SET
from examples.eurusd.sample import SAMPLE_FILE, render_sample
from features.times import iso


def test_bars(bars):
    """The year has 6225 consistent bars."""
    assert len(bars) == 6225
    assert iso(bars.time[0]) == "2017-01-01T22:00:00Z"
    assert (bars.high >= np.maximum(bars.open, bars.close)).all()
    assert (bars.low <= np.minimum(bars.open, bars.close)).all()


def test_too_few_bars(bars):
    """Too few bars for one sample are an error."""
    needed = FEATURE_SET.lookback + TIMESTEPS + HORIZON_BARS - 1
    assert len(make_samples(bars.take(slice(needed)))) == 1
    with pytest.raises(ValueError, match=f"at least {needed} bars"):
        make_samples(bars.take(slice(needed - 1)))


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
