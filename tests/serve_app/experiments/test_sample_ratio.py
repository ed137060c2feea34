"""A split that went wrong is seen; one that did not is left alone."""

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.sample_ratio import ALARM, PLANNED_COUNT, check_sample_ratio
from serve_app.experiments.statistics.counts import pearson
from serve_app.experiments.statistics.sequential import log_bernoulli_e_value
from serve_app.experiments.summary import VariantSummary
from serve_app.experiments.table import tabulate
from serve_app.experiments.units import UnitTotals
from tests.serve_app.experiments.factories import START, definition


def variant(predictions, share=None):
    summary = VariantSummary(predictions=predictions)
    if share is not None:
        summary.assigned = predictions
        summary.share_sum = predictions * share
        summary.share_variance_sum = predictions * share * (1 - share)
    return summary


def check(blocks, made=None):
    made = made or definition(control_traffic=0.5, treatment_traffic=0.5)
    parts = [
        Block(block=number, control=control, treatment=treatment)
        for number, (control, treatment) in enumerate(blocks)
    ]
    return check_sample_ratio(made, tabulate(made, BlockClock.of(made, START), parts))


@pytest.mark.parametrize("share", [0.5, None])
def test_with_a_constant_share_it_is_pearsons_test(share):
    ratio = check([(variant(821588, share), variant(815482, share))])
    assert ratio.p_value == pytest.approx(pearson((821588, 815482), (0.5, 0.5))[1])
    assert not ratio.healthy


def test_a_share_that_grew_is_expected_as_it_was():
    ratio = check(
        [(variant(9900, 0.01), variant(100, 0.01)), (variant(5000, 0.5), variant(5000, 0.5))]
    )
    assert ratio.p_value == pytest.approx(1.0)
    assert ratio.expected_share == pytest.approx(0.255)
    wrong = check(
        [(variant(9800, 0.01), variant(200, 0.01)), (variant(5000, 0.5), variant(5000, 0.5))]
    )
    assert wrong.p_value < 0.1


PATHS, REQUESTS, STEP = 300, 100_000, 100


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_looked_at_after_every_hundred_requests_it_sounds_for_nothing_as_seldom_as_promised(share):
    """Pearson's test, looked at as often, does not keep that promise."""
    generator = np.random.default_rng(6)
    steps = REQUESTS // STEP
    treated = generator.binomial(STEP, share, (PATHS, steps)).cumsum(axis=1)
    total = np.arange(STEP, REQUESTS + 1, STEP)
    evidence = log_bernoulli_e_value(treated, total, share, PLANNED_COUNT, ALARM)
    always = np.exp(-np.maximum(evidence, 0))
    for level in (0.05, ALARM):
        rejected = (always < level).any(axis=1).sum()
        assert rejected <= stats.binom.ppf(0.999, PATHS, level)
    z = (treated - total * share) / np.sqrt(total * share * (1 - share))
    assert (np.abs(z) > stats.norm.isf(0.025)).any(axis=1).sum() > PATHS / 4
    # The check itself, at one point of one of these paths:
    fair = definition(control_traffic=1 - share, treatment_traffic=share)
    count = int(treated[0, -1])
    ratio = check([(variant(REQUESTS - count, share), variant(count, share))], fair)
    assert ratio.always_valid_p_value == pytest.approx(always[0, -1])


def test_over_stages_of_exposure_it_sounds_for_nothing_as_seldom_too():
    generator = np.random.default_rng(7)
    made = definition(
        control_traffic=0.5, treatment_traffic=0.5, exposure_stages=(0.01, 0.05, 0.25, 0.5)
    )
    sounded = 0
    for _ in range(60):
        blocks, low = [], 1.0
        for share in np.repeat(made.exposure_stages, 10):
            treated = int(generator.binomial(200, share))
            blocks.append((variant(200 - treated, share), variant(treated, share)))
            low = min(low, check(blocks, made).always_valid_p_value)
        sounded += low < 0.05
    assert sounded <= stats.binom.ppf(0.999, 60, 0.05)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_switchback_looked_at_after_every_block_sounds_for_nothing_as_seldom_too(share):
    """Few blocks are treatment's at 10 %: a test that takes them for normal sounds at once."""
    made = definition(
        assignment="switchback",
        switchback_block_s=60,
        control_traffic=1 - share,
        treatment_traffic=share,
    )
    generator = np.random.default_rng(8)
    sounded = 0
    for _ in range(60):
        blocks, low = [], 1.0
        for count in generator.integers(50, 150, size=60):
            treated = generator.random() < share
            variants = (
                (variant(0), variant(int(count), share))
                if treated
                else (variant(int(count), share), variant(0))
            )
            blocks.append(variants)
            low = min(low, check(blocks, made).always_valid_p_value or 1.0)
        sounded += low < 0.05
    assert sounded <= stats.binom.ppf(0.999, 60, 0.05)


@pytest.mark.parametrize(("share", "lost"), [(0.5, 0.1), (0.1, 0.2), (0.01, 0.5)])
def test_a_treatment_that_loses_requests_is_found_within_ten_thousand(share, lost):
    treated = round(10_000 * share * (1 - lost))
    made = definition(control_traffic=1 - share, treatment_traffic=share)
    ratio = check([(variant(round(10_000 * (1 - share)), share), variant(treated, share))], made)
    assert not ratio.healthy


def test_a_few_requests_raise_no_alarm():
    """One treated request of three at 1 % has chi² 32, yet happens three times in a hundred."""
    ratio = check([(variant(2, 0.01), variant(1, 0.01))])
    assert ratio.p_value == pytest.approx(0.0297, abs=1e-4)
    assert "exact binomial" in ratio.explanation


def test_no_share_means_no_request():
    assert check([(variant(100, 0.0), variant(0))]).healthy
    assert not check([(variant(99, 0.0), variant(1, 0.0))]).healthy


def test_without_predictions_there_is_nothing_to_test():
    ratio = check([])
    assert (ratio.p_value, ratio.healthy, ratio.observed_share) == (None, True, None)
    assert ratio.always_valid_p_value is None


def test_mirrored_variants_must_have_seen_the_same():
    made = definition(mode="mirror")
    assert check([(variant(1000), variant(995))], made).healthy
    assert not check([(variant(1000), variant(980))], made).healthy


def of_units(first_seen, **changes):
    """The check where bots are assigned, and nine in ten requests are control's."""
    made = definition(
        **{"assignment": "unit_id", "control_traffic": 0.5, "treatment_traffic": 0.5, **changes}
    )
    block = Block(
        block=0,
        control=variant(9000, 0.5),
        treatment=variant(1000, 0.5),
        units=UnitTotals(first_seen=first_seen),
    )
    return check_sample_ratio(made, tabulate(made, BlockClock.of(made, START), [block]))


def test_assigned_by_unit_the_units_are_counted_not_the_requests():
    fair = of_units({0.5: [48, 52]})
    assert (fair.healthy, fair.counted, fair.control, fair.treatment) == (True, "bots", 48, 52)
    assert fair.p_value == pytest.approx(pearson((48, 52), (0.5, 0.5))[1])
    assert fair.observed_share == 0.52
    assert not of_units({0.5: [900, 100]}).healthy
    assert of_units({0.5: [5, 5]}, assignment="symbol").counted == "symbols"


def test_assigned_by_unit_it_says_that_it_sees_no_single_lost_requests():
    assert (
        "single lost requests, not whole bots, are not seen"
        in of_units({0.5: [48, 52]}).explanation
    )


def test_units_count_by_the_share_at_which_they_were_seen_first():
    ratio = of_units({0.1: [180, 20], 0.5: [52, 48]}, exposure_stages=(0.1, 0.5))
    assert ratio.healthy
    assert ratio.expected_share == pytest.approx((0.1 * 200 + 0.5 * 100) / 300)
    assert not of_units({0.1: [100, 100], 0.5: [50, 50]}, exposure_stages=(0.1, 0.5)).healthy


def test_without_units_there_is_nothing_to_test():
    assert (of_units({}).healthy, of_units({}).p_value) == (True, None)


def test_looked_at_after_every_unit_it_sounds_for_nothing_as_seldom_as_promised():
    generator = np.random.default_rng(8)
    sounded = 0
    for _ in range(60):
        treated = (generator.random(200) < 0.3).cumsum()
        sounded += any(
            of_units({0.3: [number - int(count), int(count)]}).always_valid_p_value < 0.05
            for number, count in enumerate(treated, 1)
        )
    assert sounded <= stats.binom.ppf(0.999, 60, 0.05)


def test_a_switchback_is_tested_by_block():
    made = definition(
        assignment="switchback",
        switchback_block_s=60,
        control_traffic=0.5,
        treatment_traffic=0.5,
    )
    generator = np.random.default_rng(1)
    fair = [
        (variant(100, 0.5), variant(0))
        if generator.random() < 0.5
        else (variant(0), variant(100, 0.5))
        for _ in range(100)
    ]
    assert check(fair, made).healthy
    assert check(fair, made).p_value > 0.001
    assert check(fair[:5], made).p_value is None
    stuck = [(variant(0), variant(90 + number % 20, 0.5)) for number in range(100)]
    assert not check(stuck, made).healthy
