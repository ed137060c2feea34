"""The analysis of bots that share one market keeps its level and finds a real difference."""

from dataclasses import replace

import numpy as np
import pytest

from serve_app.experiments.analysis import analyse
from serve_app.experiments.records import Variant
from serve_app.experiments.statistics.by_unit import accuracy_by_unit
from serve_app.experiments.statistics.effect import Effect
from serve_app.experiments.statistics.unit_moments import CORRECT, LABELLED, SIZE
from serve_app.experiments.units import UnitTotals, slice_of
from tests.serve_app.experiments.factories import definition
from tests.serve_app.experiments.simulation import ALPHA, CLOCK, Experiments, most_false_alarms

pytestmark = pytest.mark.slow


def shared_market(seed, experiments, predictions, bots, **changes):
    """Return experiments whose bots trade one market at the same times, by held views."""
    found = Experiments(seed, experiments, predictions, horizon=20, view=60, **changes)
    generator = np.random.default_rng(seed)
    found.bots = generator.integers(0, bots, found.treated.shape)
    treated = generator.permuted(np.arange(bots) % 2 == 1 + np.zeros((experiments, 1)), axis=1)
    found.treated = np.take_along_axis(treated, found.bots, axis=1)
    return found


def with_units(experiments, row, now):
    """Return an experiment's blocks, with the totals of its bots in the last one."""
    blocks = experiments.summaries(row, now)
    return [*blocks[:-1], replace(blocks[-1], units=units_of(experiments, row, now))]


def units_of(experiments, row, now):
    """Return the totals of the bots of one experiment after `now` predictions."""
    bots, treated = experiments.bots[row, :now], experiments.treated[row, :now]
    right = np.where(
        treated, experiments.treatment_right[row, :now], experiments.control_right[row, :now]
    )
    units = UnitTotals()
    for bot in np.unique(bots):
        of_bot = bots == bot
        variant = Variant.TREATMENT if treated[of_bot][0] else Variant.CONTROL
        one = np.zeros((of_bot.sum(), SIZE))
        one[:, slice_of(variant).start + LABELLED] = 1
        one[:, slice_of(variant).start + CORRECT] = right[of_bot]
        units.see(variant, 0.5, first=True)
        units.label(np.zeros(SIZE), one.sum(axis=0), one.T @ one)
    return units


def first_verdicts(experiments, looks):
    made = definition(
        assignment="unit_id", control_traffic=0.5, treatment_traffic=0.5, horizon_s=20
    )
    found = []
    for row in range(len(experiments.treated)):
        actions = (
            analyse(made, CLOCK, with_units(experiments, row, now)).recommendation.action
            for now in looks
        )
        found.append(next((action for action in actions if action != "continue"), "continue"))
    return found


def test_no_effect_continues():
    """Without an effect bots that share a market lead to no verdict.

    The bots do not differ; all bots of a variant are correct or wrong at once.
    """
    found = first_verdicts(shared_market(6, 30, 1200, 40), range(200, 1201, 200))
    assert len(found) - found.count("continue") <= most_false_alarms(30)


def test_test_of_bots_alone_exceeds_level():
    """A test over bots alone fails at a single look if they share a market.

    What they have in common is in no difference between bots.
    """
    experiments, rejected = shared_market(6, 100, 600, 40), 0
    for row in range(100):
        units = units_of(experiments, row, 600)
        between, _ = accuracy_by_unit(units.moments)
        rejected += Effect.of(between).fixed_p_value() <= ALPHA
    assert rejected > 2 * most_false_alarms(100)


@pytest.mark.nightly
def test_no_effect_continues_in_long_experiments():
    """Long experiments keep the level too."""
    found = first_verdicts(shared_market(7, 100, 3000, 40), range(200, 3001, 200))
    assert len(found) - found.count("continue") <= most_false_alarms(100)


def test_effect_promotes():
    """A better treatment is promoted although its bots share a market."""
    found = first_verdicts(shared_market(8, 5, 6000, 40, effect=0.25), range(1000, 6001, 1000))
    assert found == ["promote"] * 5
