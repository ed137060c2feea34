"""Where bots are assigned the statistics keep their promises too, looked at after every batch."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.analysis import analyse
from serve_app.experiments.power import units_for_verdict
from serve_app.experiments.records import Variant
from serve_app.experiments.statistics.by_unit import accuracy_by_unit
from serve_app.experiments.statistics.effect import Effect
from serve_app.experiments.statistics.unit_moments import CORRECT, LABELLED, SIZE
from serve_app.experiments.units import UnitTotals, slice_of
from tests.serve_app.experiments.factories import definition
from tests.serve_app.experiments.simulation import CLOCK, Experiments
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


def most_false_alarms(count: int, alpha: float = ALPHA) -> int:
    """What a rate of alpha exceeds once in a thousand runs."""
    return int(stats.binom.ppf(0.999, count, alpha))


def ever_rejected(experiments, test, batches, rate=1.0):
    made = definition(assignment="unit_id")
    rejected = np.zeros(len(experiments.lots), bool)
    for moments in experiments.batches(batches, rate):
        rejected |= test(made, moments) <= made.alpha
    return int(rejected.sum())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_effect_looking_after_every_batch_rejects_alpha_at_most(scenario):
    experiments = UnitExperiments(1, 200, **SCENARIOS[scenario])
    assert ever_rejected(experiments, p_values, 100, rate=2.0) <= most_false_alarms(200)


@pytest.mark.nightly
@pytest.mark.parametrize("deviation", [0.0, 0.2])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_effect_long_form(scenario, deviation):
    experiments = UnitExperiments(2, 500, **{**SCENARIOS[scenario], "deviation": deviation})
    assert ever_rejected(experiments, p_values, 400, rate=3.0) <= most_false_alarms(500)


@pytest.mark.parametrize(
    "scenario", [name for name, changes in SCENARIOS.items() if "busy_better" not in changes]
)
def test_without_effect_one_planned_look_rejects_alpha_at_most_if_busy_bots_are_like_others(
    scenario,
):
    experiments = UnitExperiments(3, 400, **SCENARIOS[scenario])
    *_, last = experiments.batches(20, 10.0)
    assert (fixed_p_values(last) <= ALPHA).sum() <= most_false_alarms(400)


def test_without_effect_one_planned_look_rejects_too_often_where_busy_bots_are_better():
    """Why by bot no verdict rests on it: few bots carry a variant, and tell little of its error."""
    experiments = UnitExperiments(5, 1000, **SCENARIOS["busy bots that are better"])
    *_, last = experiments.batches(20, 10.0)
    assert (fixed_p_values(last) <= ALPHA).sum() > most_false_alarms(1000)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_test_of_requests_fails_the_same_simulation(scenario):
    """It takes a bot that is seen again and again for ever more evidence."""
    experiments = UnitExperiments(1, 200, **SCENARIOS[scenario])
    rejected = ever_rejected(experiments, p_values_by_request, 100, rate=2.0)
    assert rejected > 2 * most_false_alarms(200)


def shared_market(seed, experiments, predictions, bots, **changes):
    """Bots that trade one market at the same times by the views of two models, held for a while."""
    found = Experiments(seed, experiments, predictions, horizon=20, view=60, **changes)
    generator = np.random.default_rng(seed)
    found.bots = generator.integers(0, bots, found.treated.shape)
    treated = generator.permuted(np.arange(bots) % 2 == 1 + np.zeros((experiments, 1)), axis=1)
    found.treated = np.take_along_axis(treated, found.bots, axis=1)
    return found


def with_units(experiments, row, now):
    """Its blocks with what is known of the bots, in the last one."""
    blocks = experiments.summaries(row, now)
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
    return [*blocks[:-1], replace(blocks[-1], units=units)]


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
        found.append(next((each for each in actions if each != "continue"), "continue"))
    return found


def test_without_effect_bots_that_share_a_market_lead_to_no_verdict():
    """No bot differs from another here; all of a variant are right or wrong at once."""
    found = first_verdicts(shared_market(6, 30, 1200, 40), range(200, 1201, 200))
    assert len(found) - found.count("continue") <= most_false_alarms(30)


def test_a_test_of_bots_alone_fails_where_they_share_a_market():
    """Even at a single look: what they have in common is in no difference between bots."""
    experiments, rejected = shared_market(6, 100, 600, 40), 0
    for row in range(100):
        units = with_units(experiments, row, 600)[-1].units
        between, _ = accuracy_by_unit(units.moments)
        rejected += Effect.of(between).fixed_p_value() <= ALPHA
    assert rejected > 2 * most_false_alarms(100)


@pytest.mark.nightly
def test_without_effect_bots_that_share_a_market_long_form():
    found = first_verdicts(shared_market(7, 100, 3000, 40), range(200, 3001, 200))
    assert len(found) - found.count("continue") <= most_false_alarms(100)


def test_with_an_effect_bots_that_share_a_market_lead_to_its_verdict():
    found = first_verdicts(shared_market(8, 5, 6000, 40, effect=0.25), range(1000, 6001, 1000))
    assert found == ["promote"] * 5


@pytest.mark.parametrize(
    ("effect", "deviation", "outcomes_each"),
    [(0.1, 0.05, 50), (-0.1, 0.1, 200), (0.05, 0.02, 100), (0.2, 0.1, 20)],
)
def test_a_real_effect_is_found_with_the_stated_power_at_the_stated_size(
    effect, deviation, outcomes_each
):
    made = definition(assignment="unit_id")
    units = units_for_verdict(
        made, effect, unit_deviation=deviation, outcomes_each=outcomes_each, power=0.8
    )
    experiments = UnitExperiments(4, 300, 2 * units, deviation=deviation, effect=effect)
    (last,) = experiments.batches(1, outcomes_each)
    found = (p_values(made, last) <= made.alpha).sum()
    low, _ = stats.binom.interval(0.999, 300, 0.8)
    assert found >= low
