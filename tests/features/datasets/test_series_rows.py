"""The rows of a series, compared with a naive account of what was known when."""

import numpy as np
import pytest

from features import KnownBars, Symbol
from features.bars import LATEST_MS
from features.datasets.definition import DatasetDefinition
from features.datasets.series_rows import SeriesRows
from features.labels import LabelRule
from testkit.feature_sets import HOURLY
from tests.features.datasets.logs import TOY, known_rows, samples_of

TIMESTEPS, HORIZON = 5, 4


def definition(**fields):
    settings = {
        "symbols": (Symbol("EURUSD"),),
        "rule": LabelRule(HORIZON, 0.0005),
        "as_of_ms": LATEST_MS,
        "timesteps": TIMESTEPS,
    }
    return DatasetDefinition(**{**settings, **fields})


def built(rows, of, feature_set=TOY):
    """Return the window, the times and the outcome of each sample, and the manifest."""
    series = SeriesRows("EURUSD", rows.take(rows.known_at <= of.as_of_ms), feature_set, of)
    found = {}
    features = np.zeros((0, 2), np.float32)
    for _, block in series.blocks():
        features = np.concatenate([features, block.features])
        for row in np.flatnonzero(block.is_sample):
            end = len(features) - len(block) + row + 1
            found[int(block.time[row])] = (
                features[end - of.timesteps : end],
                int(block.known_at[row]),
                float(block.market_return[row]),
                int(block.label[row]),
                int(block.horizon_time[row]),
                int(block.horizon_known_at[row]),
            )
    return found, series.manifest()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "kind",
    [{}, {"revised": 0.2}, {"late": 0.1}, {"batches": 0.3}, {"late": 0.1, "revised": 0.3}],
    ids=lambda kind: "+".join(kind) or "in order",
)
def test_point_in_time(kind, seed):
    """Every sample has the window and the outcome that a server would have had."""
    rows = known_rows(seed=seed, **kind)
    of = definition(as_of_ms=int(np.quantile(rows.known_at, 0.9)))
    found, manifest = built(rows, of)
    expected = samples_of(rows, of)
    assert len(found) == manifest.samples > 20
    for time, (window, known_at, earned, label, horizon, horizon_known_at) in found.items():
        expected_window, expected_known_at, outcome, arrival = expected[time]
        assert np.array_equal(window.view(np.uint32), expected_window.view(np.uint32))
        assert known_at == expected_known_at
        assert (earned, label, horizon) == (
            outcome.market_return,
            outcome.direction,
            outcome.time_ms,
        )
        assert horizon_known_at == arrival
    if "late" not in kind:
        assert found.keys() == expected.keys()


@pytest.mark.parametrize("seed", range(12))
def test_later_bar(seed):
    """A change of a bar changes no sample that was known before."""
    rows = known_rows(revised=0.2, batches=0.2, seed=seed)
    changed = int(np.flatnonzero(rows.time == np.unique(rows.time)[60 + seed])[0])
    values = rows.values.copy()
    values[:, changed] *= 1.3
    altered = KnownBars(rows.time, values, rows.known_at)
    before, _ = built(rows, definition())
    after, _ = built(altered, definition())
    assert before.keys() == after.keys()
    unchanged = 0
    for time, (window, known_at, *outcome, horizon_known_at) in before.items():
        if known_at < rows.known_at[changed]:
            assert np.array_equal(window, after[time][0])
        if horizon_known_at < rows.known_at[changed]:
            unchanged += 1
            assert outcome == list(after[time][2:5])
    assert unchanged > 40
    changed_time = int(rows.time[changed])
    assert not np.array_equal(before[changed_time][0], after[changed_time][0])


@pytest.mark.parametrize("seed", range(12))
def test_later_revision(seed):
    """A revision changes no sample that was known before it."""
    rows = known_rows(revised=0.1, seed=seed)
    bar = 60
    time = np.unique(rows.time)[bar]
    revised_at = int(rows.known_at[rows.time == time].max()) + 30 * HOURLY.length_ms
    added = KnownBars(np.array([time]), rows.values[:, :1] * 0.5, np.array([revised_at]))
    before, _ = built(rows, definition())
    after, _ = built(KnownBars.concat([rows, added]).sorted(), definition())
    assert before.keys() == after.keys()
    for sample_time, (window, known_at, *outcome, horizon_known_at) in before.items():
        if known_at < revised_at:
            assert np.array_equal(window, after[sample_time][0])
        if horizon_known_at < revised_at:
            assert outcome == list(after[sample_time][2:5])


@pytest.mark.parametrize("seed", range(4))
def test_view(seed):
    """A view of the past has the samples whose outcome was known then, unchanged."""
    rows = known_rows(revised=0.2, seed=seed)
    whole, _ = built(rows, definition())
    as_of = int(np.quantile(rows.known_at, 0.6))
    past, _ = built(rows, definition(as_of_ms=as_of))
    assert past.keys() == {time for time, sample in whole.items() if sample[5] <= as_of}
    for time, sample in past.items():
        assert np.array_equal(sample[0], whole[time][0])
        assert sample[1:] == whole[time][1:]


def test_late_bar():
    """A bar that arrives late takes away the samples that lacked it, and changes no other."""
    rows = known_rows()
    time = np.unique(rows.time)
    late = rows.known_at.copy()
    late[60] = late[62] + 1
    before, _ = built(rows, definition())
    after, _ = built(KnownBars(rows.time, rows.values, late), definition())
    lacked_window = {int(time[bar]) for bar in (61, 62)}
    lacked_outcome = {int(time[bar]) for bar in (56, 57)}
    assert before.keys() - after.keys() == lacked_window | lacked_outcome
    for sample_time in after:
        assert np.array_equal(before[sample_time][0], after[sample_time][0])
        assert before[sample_time][2:5] == after[sample_time][2:5]


def test_range():
    """A range selects samples and changes none of them."""
    rows = known_rows(revised=0.2, seed=5)
    whole, _ = built(rows, definition())
    first, last = sorted(whole)[10], sorted(whole)[50]
    part, manifest = built(rows, definition(first_ms=first, last_ms=last))
    assert sorted(part) == sorted(whole)[10:51]
    assert (manifest.samples, manifest.without_outcome) == (41, 0)
    for time, sample in part.items():
        assert np.array_equal(sample[0], whole[time][0])
        assert sample[1:] == whole[time][1:]


def test_counts():
    """The manifest accounts for every bar of the range."""
    rows = known_rows(late=0.2, revised=0.2, seed=7)
    found, manifest = built(rows, definition())
    assert manifest.bars == len(np.unique(rows.time))
    assert manifest.revisions == len(rows) - manifest.bars
    accounted = manifest.samples + manifest.incomplete + manifest.without_outcome
    assert accounted == manifest.bars
    assert manifest.incomplete >= TOY.lookback + TIMESTEPS - 2
    assert sum(manifest.labels.values()) == len(found)


def test_chunks(monkeypatch):
    """Features that are computed in parts are the same."""
    rows = known_rows(revised=0.05, seed=2)
    whole, _ = built(rows, definition())
    monkeypatch.setattr("features.datasets.series_rows.CHUNK_BARS", 7)
    parts, _ = built(rows, definition())
    assert all(np.array_equal(whole[time][0], parts[time][0]) for time in whole)
    assert [sample[1:] for sample in whole.values()] == [sample[1:] for sample in parts.values()]


def test_few_bars():
    """Too few bars give no sample."""
    rows = known_rows(5)
    found, manifest = built(rows, definition())
    assert (found, manifest.samples, manifest.first) == ({}, 0, None)
    assert built(KnownBars.empty(), definition())[0] == {}
