"""The samples of the example, compared with a dataset that is built from the bar log."""

import numpy as np
import pytest

from examples.eurusd.dataset import (
    DEAD_BAND,
    HORIZON_BARS,
    TIMESTEPS,
    build_samples,
    make_samples,
    samples_of,
    split_samples,
)
from examples.eurusd.features import FEATURE_SET
from features.feature_sets import find_feature_set


@pytest.mark.slow
@pytest.mark.usefixtures("declared")
def test_dataset(bars, samples, tmp_path):
    """The samples from bars are those of a dataset that is built from a bar log."""
    dataset = build_samples(find_feature_set(FEATURE_SET.name), bars, tmp_path)
    built = samples_of(dataset, bars)
    assert np.array_equal(built.bars, samples.bars)
    assert np.array_equal(built.returns, samples.returns)
    assert np.array_equal(built.labels, samples.labels)
    assert np.array_equal(built.windows, samples.windows)


def test_too_few_bars(bars):
    """Too few bars for one sample are an error."""
    needed = FEATURE_SET.lookback + TIMESTEPS + HORIZON_BARS - 1
    assert len(make_samples(bars.take(slice(needed)))) == 1
    with pytest.raises(ValueError, match=f"at least {needed} bars"):
        make_samples(bars.take(slice(needed - 1)))


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
