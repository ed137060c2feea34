"""The difference between variants that serve different bots, with an error over bots."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.records import Variant
from serve_app.experiments.statistics.by_unit import (
    FEWEST_UNITS,
    accuracy_by_unit,
    return_by_unit,
    sharpe_by_unit,
    with_time,
)
from serve_app.experiments.statistics.effect import Effect
from serve_app.experiments.statistics.estimates import VariantBlocks
from serve_app.experiments.statistics.unit_moments import SIZE
from serve_app.experiments.units import UnitTotals, overlap_weight, slice_of


def totals(*units):
    """Of units, each the variant and its predictions: (right, return) rows."""
    found = UnitTotals()
    for variant, rows in units:
        one = np.zeros((len(rows), SIZE))
        right, earned = np.array(rows, float).T
        one[:, slice_of(variant)] = np.stack([np.ones(len(rows)), right, earned, earned**2], axis=1)
        found.see(variant, 0.5, first=True)
        found.label(np.zeros(SIZE), one.sum(axis=0), one.T @ one)
    return found


def moments(*units):
    return totals(*units).moments


def drawn(seed, sizes, *, deviation=0.01, within=0.01):
    """Units of those sizes, every second one treatment's; their mean returns scatter."""
    generator = np.random.default_rng(seed)
    units = []
    for number, size in enumerate(sizes):
        own = generator.normal(0.001, deviation)
        earned = generator.normal(own, within, size)
        variant = Variant.TREATMENT if number % 2 else Variant.CONTROL
        units.append((variant, np.stack([earned > 0, earned], axis=1)))
    return units


def means(units, variant):
    return [rows[:, 1].mean() for each, rows in units if each is variant]


def test_equally_active_bots_equal_welch():
    """For equally active bots the test equals Welch's test of their means."""
    units = drawn(1, [20] * 24)
    effect = Effect.of(return_by_unit(moments(*units))[0])
    reference = stats.ttest_ind(
        means(units, Variant.TREATMENT), means(units, Variant.CONTROL), equal_var=False
    )
    assert effect.t == pytest.approx(reference.statistic)
    assert effect.degrees_of_freedom == pytest.approx(reference.df)
    assert effect.fixed_p_value() == pytest.approx(reference.pvalue)


def test_unequal_bots_have_ratio_error():
    """For unequal bots the error is that of a ratio of two sums."""
    units = drawn(2, np.random.default_rng(2).integers(1, 60, 60).tolist())
    estimate = return_by_unit(moments(*units))[0]
    variance = 0.0
    for variant in Variant:
        bots = [rows for assigned, rows in units if assigned is variant]
        n = np.array([len(rows) for rows in bots])
        earned = np.array([rows[:, 1].sum() for rows in bots])
        worth = n.sum() ** 2 / (n**2).sum()
        scatter = ((earned - earned.sum() / n.sum() * n) ** 2).sum() / n.sum() ** 2
        variance += worth / (worth - 1) * scatter
    assert estimate.standard_error >= np.sqrt(variance) * (1 - 1e-9)
    assert estimate.standard_error == pytest.approx(np.sqrt(variance), rel=0.1)


def test_error_has_independent_floor():
    """The error is never less than that of independent predictions.

    All bots have exactly the same mean by construction.
    """
    rows = np.array([[1, 0.01], [0, -0.01]] * 10)
    units = [(variant, rows) for variant in Variant for _ in range(10)]
    estimate, independent = accuracy_by_unit(moments(*units))
    assert estimate.standard_error == pytest.approx(np.sqrt(independent))
    assert independent == pytest.approx(2 * (0.25 / 200 + 0.5 / 202**2))


def test_similar_bots_of_small_variant():
    """Bots of a small variant that happen to be similar do not make the error small."""
    alike = [(Variant.TREATMENT, [[1, 0.01], [0, -0.01]] * 50) for _ in range(6)]
    other = drawn(3, [100] * 60)
    control = [(Variant.CONTROL, rows) for _, rows in other]
    estimate = return_by_unit(moments(*control, *alike))[0]
    spread = np.var([rows[:, 1].mean() for _, rows in control], ddof=1)
    assert estimate.standard_error > 0.9 * np.sqrt(spread / 6)


def test_fewest_units():
    """With fewer than FEWEST_UNITS equally active bots there is no estimate."""
    few = int(FEWEST_UNITS)
    enough = Effect.of(return_by_unit(moments(*drawn(4, [20] * 2 * few)))[0])
    fewer = Effect.of(return_by_unit(moments(*drawn(4, [20] * (2 * few - 1))))[0])
    one_busy = Effect.of(return_by_unit(moments(*drawn(4, [20] * 2 * few + [500, 500])))[0])
    assert (enough.known, fewer.known, one_busy.known) == (True, False, False)


def test_no_units():
    """Without units there is no estimate."""
    for test in (accuracy_by_unit, return_by_unit):
        estimate, _ = test(moments())
        assert (estimate.value, estimate.degrees_of_freedom, estimate.weight) == (0, 0, 0)
    assert sharpe_by_unit(moments()).degrees_of_freedom == 0


def test_sharpe_error_equals_jackknife():
    """The error of the difference in Sharpe ratio equals that of the jackknife."""
    units = drawn(5, np.random.default_rng(5).integers(20, 60, 80).tolist(), deviation=0.003)
    estimate = sharpe_by_unit(moments(*units))
    without = [
        float(sharpe_by_unit(moments(*units[:left], *units[left + 1 :])).value)
        for left in range(len(units))
    ]
    jackknife = np.sqrt((len(units) - 1) * np.var(without))
    assert estimate.standard_error == pytest.approx(jackknife, rel=0.1)
    ratios = []
    for variant in Variant:
        earned = np.concatenate([rows[:, 1] for assigned, rows in units if assigned is variant])
        ratios.append(earned.mean() / earned.std())
    assert estimate.value == pytest.approx(ratios[1] - ratios[0])


def test_shared_time_adds_to_error():
    """What all bots share at one time is part of the error.

    All bots of a variant are correct or wrong together, so no bot differs from another.
    """
    generator = np.random.default_rng(6)
    right = generator.random((2, 100)) < 0.5
    units = [
        (variant, np.stack([right[index], right[index] * 0.0], axis=1))
        for index, variant in enumerate(Variant)
        for _ in range(20)
    ]
    between, independent = accuracy_by_unit(moments(*units))
    blocks = [VariantBlocks(np.full(100, 20.0), 20.0 * hits, 20.0 * hits) for hits in right]
    estimate = with_time(between, independent, *blocks, np.full(100, 0.5), neighbours=False)
    assert between.standard_error == pytest.approx(np.sqrt(2 * 0.25 / 2000), rel=0.1)
    assert estimate.standard_error == pytest.approx(np.sqrt(2 * 0.25 / 100), rel=0.1)
    assert with_time(
        replace(between, degrees_of_freedom=np.asarray(3.0)),
        independent,
        *blocks,
        np.full(100, 0.5),
        neighbours=False,
    ).degrees_of_freedom == pytest.approx(3.0)


def test_overlap_weights():
    """Overlap weights give each day the same weight in both variants.

    A bad first day with 1 % treatment is followed by a good one with 50 %.
    """
    weighed = []
    for variant, days in ((Variant.CONTROL, (9900, 5000)), (Variant.TREATMENT, (100, 5000))):
        weights = [overlap_weight(variant, share, 0.5) for share in (0.01, 0.5)]
        weighed.append([n * weight for n, weight in zip(days, weights, strict=True)])
    (bad, good), treated = weighed
    assert bad / good == pytest.approx(treated[0] / treated[1])
    assert overlap_weight(Variant.CONTROL, None, 0.1) == 1.0
    assert overlap_weight(Variant.TREATMENT, 1.0, 1.0) == 1.0


def test_json_round_trip():
    """Totals are equal after their conversion to JSON and back."""
    found = totals(*drawn(7, [3, 5, 2, 9]))
    assert UnitTotals.from_dict(found.to_dict()) == found
    assert UnitTotals() != found
