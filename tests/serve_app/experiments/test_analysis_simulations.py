"""The whole analysis keeps its level, and finds real differences, in simulated experiments."""

import pytest

from serve_app.experiments.analysis import analyse
from tests.serve_app.experiments.factories import definition
from tests.serve_app.experiments.simulation import (
    CLOCK,
    OVERLAPPING,
    Experiments,
    most_false_alarms,
)

pytestmark = pytest.mark.slow

HALVES = {"control_traffic": 0.5, "treatment_traffic": 0.5}


def verdicts(experiments, made, looks, **variants):
    """Return each experiment's first verdict at these looks, `continue` without any."""
    found = []
    for row in range(len(experiments.treated)):
        actions = (
            analyse(made, CLOCK, experiments.summaries(row, now, **variants)).recommendation.action
            for now in looks
        )
        found.append(next((action for action in actions if action != "continue"), "continue"))
    return found


def test_no_effect_continues():
    """Without an effect the analysis leads to a verdict with probability alpha at most."""
    experiments = Experiments(6, 30, 1200, **OVERLAPPING)
    made = definition(**HALVES, horizon_s=20)
    found = verdicts(experiments, made, range(200, 1201, 200))
    assert len(found) - found.count("continue") <= most_false_alarms(30)


@pytest.mark.nightly
def test_no_effect_continues_in_long_experiments():
    """Long experiments with errors keep the level too."""
    experiments = Experiments(7, 100, 3000, **OVERLAPPING)
    made = definition(**HALVES, horizon_s=20)
    found = verdicts(experiments, made, range(100, 3001, 50), errors=(0.01, 0.01))
    assert len(found) - found.count("continue") <= most_false_alarms(100)


@pytest.mark.parametrize(
    ("effect", "variants", "expected"),
    [
        (0.1, {}, "promote"),
        (-0.15, {}, "rollback"),
        (0.0, {"latency_ms": (2.0, 6.0)}, "rollback"),
        (0.0, {"errors": (0.005, 0.06)}, "rollback"),
        (0.1, {"latency_ms": (2.0, 6.0)}, "rollback"),
    ],
)
def test_real_difference_leads_to_verdict(effect, variants, expected):
    """Each kind of real difference leads to its verdict."""
    experiments = Experiments(8, 5, 6000, effect=effect)
    found = verdicts(
        experiments, definition(**HALVES), (200, 500, 1000, 2000, 4000, 6000), **variants
    )
    assert found == [expected] * 5
