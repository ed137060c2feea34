"""The test of accuracy keeps its level and its power in simulations with a known truth."""

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.power import samples_for_verdict
from tests.serve_app.experiments.factories import definition
from tests.serve_app.experiments.simulation import (
    ALPHA,
    OVERLAPPING,
    Experiments,
    most_false_alarms,
)

pytestmark = pytest.mark.slow

SCENARIOS = {
    "independent": {},
    "independent, 10 % treatment": {"share": 0.1},
    "overlapping": OVERLAPPING,
    "overlapping, 10 % treatment": {**OVERLAPPING, "share": 0.1},
}


def ever_rejected(experiments: Experiments, made: ExperimentDefinition, looks) -> np.ndarray:
    rejected = np.zeros(len(experiments.treated), bool)
    for now in looks:
        rejected |= experiments.p_values(made, now) <= made.alpha
    return rejected


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_level(scenario):
    """Looks after every observation reject a true hypothesis with probability alpha at most."""
    experiments = Experiments(1, 200, 500, **SCENARIOS[scenario])
    rejected = ever_rejected(experiments, definition(), range(2, 501))
    assert rejected.sum() <= most_false_alarms(200)


@pytest.mark.nightly
@pytest.mark.parametrize("improvement", [0.02, 0.2])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_level_of_long_experiments(scenario, improvement):
    """The level also holds for long experiments with an early, eager test.

    Tuned to a large improvement the test is most eager at the beginning.
    """
    experiments = Experiments(2, 500, 5000, **SCENARIOS[scenario])
    looks = [*range(2, 1000), *range(1000, 5001, 10)]
    rejected = ever_rejected(experiments, definition(min_accuracy_improvement=improvement), looks)
    assert rejected.sum() <= most_false_alarms(500)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fixed_test_exceeds_level(scenario):
    """The fixed-horizon test fails the same simulation."""
    experiments = Experiments(1, 200, 500, **SCENARIOS[scenario])
    critical = stats.norm.isf(ALPHA / 2)
    rejected = np.zeros(200, bool)
    for now in range(20, 501):
        rejected |= np.abs(experiments.naive_z(now)) > critical
    assert rejected.sum() > 2 * most_false_alarms(200)


def test_ignored_overlap_exceeds_level():
    """A test that ignores the overlap fails even at a single look."""
    experiments = Experiments(3, 400, 2000, **OVERLAPPING)
    rejected = np.abs(experiments.naive_z(2000)) > stats.norm.isf(ALPHA / 2)
    assert rejected.sum() > 2 * most_false_alarms(400)


@pytest.mark.parametrize("effect", [0.05, -0.1])
def test_power(effect):
    """A real effect is detected with the stated power at the stated size."""
    made = definition()
    per_variant = samples_for_verdict(made, effect, power=0.8)
    experiments = Experiments(4, 300, round(2 * per_variant), effect=effect)
    found = (experiments.p_values(made, round(2 * per_variant)) <= made.alpha).sum()
    low, _ = stats.binom.interval(0.999, 300, 0.8)
    assert found >= low
