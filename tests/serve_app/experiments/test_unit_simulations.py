"""Where bots are assigned the statistics keep their promises too, looked at after every batch."""

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.power import units_for_verdict
from tests.serve_app.experiments.factories import definition
from tests.serve_app.experiments.unit_simulation import (
    UnitExperiments,
    fixed_p_values,
    p_values,
    p_values_by_request,
)

ALPHA = 0.05

SCENARIOS = {
    "the same bots again and again": {"units": 40},
    "bots that come one after the other": {"units": 120, "joining": True},
    "very unequal bots": {"units": 120, "unequal": 1.5},
    "very unequal bots, one after the other": {"units": 120, "unequal": 1.5, "joining": True},
    "few bots": {"units": 20},
    "few bots that differ much": {"units": 14, "deviation": 0.25},
    "10 % treatment": {"units": 120, "share": 0.1},
    "10 % treatment, some bots far better": {"units": 100, "share": 0.1, "outliers": 0.1},
}


def most_false_alarms(count: int, alpha: float = ALPHA) -> int:
    """What a rate of alpha exceeds once in a thousand runs."""
    return int(stats.binom.ppf(0.999, count, alpha))


def ever_rejected(experiments, test, batches, rate=1.0):
    made = definition()
    rejected = np.zeros(len(experiments.treated), bool)
    for moments in experiments.batches(batches, rate):
        rejected |= test(made, moments) <= made.alpha
    return int(rejected.sum())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_effect_looking_after_every_batch_rejects_alpha_at_most(scenario):
    experiments = UnitExperiments(1, 200, **SCENARIOS[scenario])
    assert ever_rejected(experiments, p_values, 100, rate=2.0) <= most_false_alarms(200)


@pytest.mark.nightly
@pytest.mark.parametrize("deviation", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_effect_long_form(scenario, deviation):
    experiments = UnitExperiments(2, 1000, **{**SCENARIOS[scenario], "deviation": deviation})
    assert ever_rejected(experiments, p_values, 600, rate=3.0) <= most_false_alarms(1000)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_effect_the_look_at_the_planned_end_rejects_alpha_at_most(scenario):
    experiments = UnitExperiments(3, 400, **SCENARIOS[scenario])
    *_, last = experiments.batches(20, 10.0)
    assert (fixed_p_values(last) <= ALPHA).sum() <= most_false_alarms(400)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_test_of_requests_fails_the_same_simulation(scenario):
    """It takes a bot that is seen again and again for ever more evidence."""
    experiments = UnitExperiments(1, 200, **SCENARIOS[scenario])
    rejected = ever_rejected(experiments, p_values_by_request, 100, rate=2.0)
    assert rejected > 2 * most_false_alarms(200)


@pytest.mark.parametrize(
    ("effect", "deviation", "outcomes_each"),
    [(0.1, 0.05, 50), (-0.1, 0.1, 200), (0.05, 0.02, 100), (0.2, 0.1, 20)],
)
def test_a_real_effect_is_found_with_the_stated_power_at_the_stated_size(
    effect, deviation, outcomes_each
):
    made = definition()
    units = units_for_verdict(
        made, effect, unit_deviation=deviation, outcomes_each=outcomes_each, power=0.8
    )
    experiments = UnitExperiments(4, 300, 2 * units, deviation=deviation, effect=effect)
    (last,) = experiments.batches(1, outcomes_each)
    found = (p_values(made, last) <= made.alpha).sum()
    low, _ = stats.binom.interval(0.999, 300, 0.8)
    assert found >= low
