"""A broken split raises an alarm; a correct one does not."""

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.sample_ratio import (
    ALARM,
    PLANNED_BLOCKS,
    PLANNED_COUNT,
    PLANNED_UNITS,
    check_sample_ratio,
)
from serve_app.experiments.statistics.counts import FEWEST_BLOCKS, pearson
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
def test_constant_share(share):
    """With a constant share it is Pearson's test."""
    ratio = check([(variant(821588, share), variant(815482, share))])
    assert ratio.p_value == pytest.approx(pearson((821588, 815482), (0.5, 0.5))[1])
    assert not ratio.healthy


def test_growing_share():
    """A share that grew is expected as it was at each prediction."""
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
def test_false_alarms_by_request(share):
    """Looks after every hundred requests raise false alarms within their level.

    Pearson's test does not keep its level at as many looks.
    """
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


STEPS = (0.01, 0.05, 0.25, 0.5)


def stepped(treated, count=200):
    """Return both variants by block, for treatment's counts by step and block."""
    return [
        (variant(count - int(number), share), variant(int(number), share))
        for share, step in zip(STEPS, treated, strict=True)
        for number in step
    ]


def test_false_alarms_with_exposure_steps():
    """Exposure steps do not increase the rate of false alarms."""
    made = definition(control_traffic=0.5, treatment_traffic=0.5, exposure_steps=STEPS)
    paths, length = 1000, 8
    shares = np.array(STEPS)[:, None]
    treated = np.random.default_rng(7).binomial(200, shares, (paths, len(STEPS), length))
    # Counts by step after each block; a step that has not begun counts nothing.
    total = np.clip(
        np.arange(1, len(STEPS) * length + 1) - length * np.arange(len(STEPS))[:, None], 0, length
    )
    counts = np.concatenate([np.zeros((paths, len(STEPS), 1)), treated.cumsum(axis=-1)], axis=-1)
    counts = np.take_along_axis(counts, np.broadcast_to(total, (paths, *total.shape)), axis=-1)
    evidence = log_bernoulli_e_value(counts, 200 * total, shares, PLANNED_COUNT, ALARM).sum(axis=1)
    p_values = np.exp(-np.maximum(evidence, 0))
    alarms = (p_values < 0.05).any(axis=1).sum()
    assert alarms <= stats.binom.ppf(0.999, paths, 0.05)
    # The check itself, along one of these paths:
    blocks = stepped(treated[0])
    for number in (8, 24, 32):
        checked = check(blocks[:number], made).always_valid_p_value
        assert checked == pytest.approx(p_values[0, number - 1])


def test_mixed_shares_weaken_evidence():
    """Blocks that mix two shares never have more evidence than separate ones."""
    made = definition(control_traffic=0.5, treatment_traffic=0.5, exposure_steps=STEPS)
    shares = np.array(STEPS)[:, None]
    for treated in np.random.default_rng(9).binomial(200, shares, (10, len(STEPS), 10)):
        exact = log_bernoulli_e_value(
            treated.sum(axis=1), 2000, np.array(STEPS), PLANNED_COUNT, ALARM
        )
        checked = check(stepped(treated), made).always_valid_p_value
        assert checked >= min(1.0, np.exp(-exact.sum())) * (1 - 1e-9)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_false_alarms_of_switchback(share):
    """Looks after every block of a switchback raise false alarms within their level.

    At 10 % few blocks are treatment's: a test that assumes a normal distribution fails at once.
    """
    made = definition(
        assignment="switchback",
        switchback_block_s=60,
        control_traffic=1 - share,
        treatment_traffic=share,
    )
    generator = np.random.default_rng(8)
    treated = generator.random((2000, 60)) < share
    looks = np.arange(1, 61)
    evidence = log_bernoulli_e_value(treated.cumsum(axis=1), looks, share, PLANNED_BLOCKS, ALARM)
    p_values = np.exp(-np.maximum(evidence, 0))
    alarms = (p_values < 0.05).any(axis=1).sum()
    assert alarms <= stats.binom.ppf(0.999, 2000, 0.05)
    # The check itself, along one of these paths, with blocks of unequal size:
    counts = generator.integers(50, 150, size=60)
    blocks = [
        (variant(0), variant(int(count), share))
        if own
        else (variant(int(count), share), variant(0))
        for own, count in zip(treated[0], counts, strict=True)
    ]
    for number in (FEWEST_BLOCKS, 30, 60):
        checked = check(blocks[:number], made).always_valid_p_value
        assert checked == pytest.approx(p_values[0, number - 1])


@pytest.mark.parametrize(("share", "lost"), [(0.5, 0.1), (0.1, 0.2), (0.01, 0.5)])
def test_lost_requests(share, lost):
    """A treatment that loses requests raises an alarm within ten thousand requests."""
    treated = round(10_000 * share * (1 - lost))
    made = definition(control_traffic=1 - share, treatment_traffic=share)
    ratio = check([(variant(round(10_000 * (1 - share)), share), variant(treated, share))], made)
    assert not ratio.healthy


def test_small_counts():
    """One treated request of three at 1 % has chi² 32, but probability 3 %."""
    ratio = check([(variant(2, 0.01), variant(1, 0.01))])
    assert ratio.p_value == pytest.approx(0.0297, abs=1e-4)
    assert "exact binomial" in ratio.explanation


def test_zero_share():
    """At a share of 0 a single treated request is an alarm."""
    assert check([(variant(100, 0.0), variant(0))]).healthy
    assert not check([(variant(99, 0.0), variant(1, 0.0))]).healthy


def test_no_predictions():
    """Without predictions there is no test."""
    ratio = check([])
    assert (ratio.p_value, ratio.healthy, ratio.observed_share) == (None, True, None)
    assert ratio.always_valid_p_value is None


def test_mirrored_variants():
    """Mirrored variants must have received the same requests, up to 1 %."""
    made = definition(mode="mirror")
    assert check([(variant(1000), variant(995))], made).healthy
    assert not check([(variant(1000), variant(980))], made).healthy


def of_units(first_seen, **changes):
    """Return the check by bot, with nine in ten requests in control."""
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


def test_units_are_counted():
    """By bot or symbol the units are counted, not their requests."""
    fair = of_units({0.5: [48, 52]})
    assert (fair.healthy, fair.counted, fair.control, fair.treatment) == (True, "bots", 48, 52)
    assert fair.p_value == pytest.approx(pearson((48, 52), (0.5, 0.5))[1])
    assert fair.observed_share == 0.52
    assert not of_units({0.5: [900, 100]}).healthy
    assert of_units({0.5: [5, 5]}, assignment="symbol").counted == "symbols"


def test_unit_check_states_its_limit():
    """By bot the explanation states that single lost requests are not detected."""
    assert (
        "detects bots that are lost entirely, but no single lost requests"
        in of_units({0.5: [48, 52]}).explanation
    )


def test_units_with_exposure_steps():
    """A unit counts with the share at which it was seen first."""
    ratio = of_units({0.1: [180, 20], 0.5: [52, 48]}, exposure_steps=(0.1, 0.5))
    assert ratio.healthy
    assert ratio.expected_share == pytest.approx((0.1 * 200 + 0.5 * 100) / 300)
    assert not of_units({0.1: [100, 100], 0.5: [50, 50]}, exposure_steps=(0.1, 0.5)).healthy


def test_no_units():
    """Without units there is no test."""
    assert (of_units({}).healthy, of_units({}).p_value) == (True, None)


def test_false_alarms_by_unit():
    """Looks after every unit raise false alarms within their level."""
    treated = (np.random.default_rng(8).random((2000, 200)) < 0.3).cumsum(axis=1)
    units = np.arange(1, 201)
    evidence = log_bernoulli_e_value(treated, units, 0.3, PLANNED_UNITS, ALARM)
    p_values = np.exp(-np.maximum(evidence, 0))
    alarms = (p_values < 0.05).any(axis=1).sum()
    assert alarms <= stats.binom.ppf(0.999, 2000, 0.05)
    # The check itself, along one of these paths:
    for number in (1, 50, 200):
        count = int(treated[0, number - 1])
        checked = of_units({0.3: [number - count, count]}).always_valid_p_value
        assert checked == pytest.approx(p_values[0, number - 1])


def test_switchback():
    """A switchback is tested by block of time."""
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
