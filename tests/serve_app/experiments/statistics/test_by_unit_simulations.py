"""The difference by unit keeps its level and its power at looks after every batch."""

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.power import units_for_verdict
from tests.serve_app.experiments.factories import definition
from tests.serve_app.experiments.simulation import ALPHA, most_false_alarms
from tests.serve_app.experiments.unit_simulation import (
    UnitExperiments,
    fixed_p_values,
    p_values,
    p_values_by_request,
)

pytestmark = pytest.mark.slow

SCENARIOS = {
    "the same bots again and again": {"units": 40},
    "bots that come one after the other": {"units": 120, "joining": True},
    "very unequal bots": {"units": 120, "unequal": 1.5},
    "very unequal bots, one after the other": {"units": 120, "unequal": 1.5, "joining": True},
    "few bots": {"units": 20},
    "few bots that differ much": {"units": 14, "deviation": 0.25},
    "10 % treatment": {"units": 120, "share": 0.1},
    "10 % treatment, some bots far better": {"units": 100, "share": 0.1, "outliers": 0.1},
    "busy bots that are better": {
        "units": 60,
        "unequal": 1.5,
        "deviation": 0.05,
        "busy_better": 0.1,
    },
    "busy bots that are worse, 10 % treatment": {
        "units": 200,
        "share": 0.1,
        "unequal": 1.2,
        "deviation": 0.05,
        "busy_better": -0.1,
    },
    "a treatment that grows, in another market": {
        "units": 80,
        "first_share": 0.1,
        "first_shift": -0.2,
    },
}


def ever_rejected(experiments, test, batches, rate=1.0):
    made = definition(assignment="unit_id")
    rejected = np.zeros(len(experiments.lots), bool)
    for moments in experiments.batches(batches, rate):
        rejected |= test(made, moments) <= made.alpha
    return int(rejected.sum())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_level(scenario):
    """Looks after every batch reject a true hypothesis with probability alpha at most."""
    experiments = UnitExperiments(1, 200, **SCENARIOS[scenario])
    assert ever_rejected(experiments, p_values, 100, rate=2.0) <= most_false_alarms(200)


@pytest.mark.nightly
@pytest.mark.parametrize("deviation", [0.0, 0.2])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_level_of_long_experiments(scenario, deviation):
    """The level also holds for long experiments, and for bots that do not differ."""
    experiments = UnitExperiments(2, 500, **{**SCENARIOS[scenario], "deviation": deviation})
    assert ever_rejected(experiments, p_values, 400, rate=3.0) <= most_false_alarms(500)


@pytest.mark.parametrize(
    "scenario", [name for name, changes in SCENARIOS.items() if "busy_better" not in changes]
)
def test_level_of_planned_analysis(
    scenario,
):
    """A single planned analysis keeps the level if active bots are like the others."""
    experiments = UnitExperiments(3, 400, **SCENARIOS[scenario])
    *_, last = experiments.batches(20, 10.0)
    assert (fixed_p_values(last) <= ALPHA).sum() <= most_false_alarms(400)


def test_planned_analysis_exceeds_level():
    """A single planned analysis rejects too often if active bots are better.

    For this reason the verdict by unit does not use it: the few bots that dominate a variant reveal
    little about its variance.
    """
    experiments = UnitExperiments(5, 1000, **SCENARIOS["busy bots that are better"])
    *_, last = experiments.batches(20, 10.0)
    assert (fixed_p_values(last) <= ALPHA).sum() > most_false_alarms(1000)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_test_of_requests_exceeds_level(scenario):
    """A test of requests fails the same simulation: it counts a bot's repetitions as evidence."""
    experiments = UnitExperiments(1, 200, **SCENARIOS[scenario])
    rejected = ever_rejected(experiments, p_values_by_request, 100, rate=2.0)
    assert rejected > 2 * most_false_alarms(200)


@pytest.mark.parametrize(
    ("effect", "deviation", "outcomes_each"),
    [(0.1, 0.05, 50), (-0.1, 0.1, 200), (0.05, 0.02, 100), (0.2, 0.1, 20)],
)
def test_power(effect, deviation, outcomes_each):
    """A real effect is detected with the stated power at the stated number of bots."""
    made = definition(assignment="unit_id")
    units = units_for_verdict(
        made, effect, unit_deviation=deviation, outcomes_each=outcomes_each, power=0.8
    )
    experiments = UnitExperiments(4, 300, 2 * units, deviation=deviation, effect=effect)
    (last,) = experiments.batches(1, outcomes_each)
    found = (p_values(made, last) <= made.alpha).sum()
    low, _ = stats.binom.interval(0.999, 300, 0.8)
    assert found >= low
