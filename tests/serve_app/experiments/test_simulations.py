"""The statistics keep their promises in simulated experiments, where the truth is known."""

import numpy as np
import pytest
from scipy import stats

from serve_app.experiments.analysis import analyse
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.power import samples_for_verdict
from serve_app.experiments.statistics.effect import difference_over_blocks
from serve_app.experiments.statistics.estimates import VariantBlocks
from serve_app.experiments.statistics.sequential import Moments, difference_in_means
from tests.serve_app.experiments.factories import definition
from tests.serve_app.experiments.simulation import CLOCK, Experiments

ALPHA = 0.05

OVERLAPPING = {"horizon": 20, "view": 60}
"""Outcomes over 20 predictions, views held over 60: far from independent."""

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


def most_false_alarms(count: int) -> int:
    """What a rate of alpha exceeds once in a thousand runs."""
    return int(stats.binom.ppf(0.999, count, ALPHA))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_effect_looking_after_every_observation_rejects_alpha_at_most(scenario):
    experiments = Experiments(1, 200, 500, **SCENARIOS[scenario])
    rejected = ever_rejected(experiments, definition(), range(2, 501))
    assert rejected.sum() <= most_false_alarms(200)


@pytest.mark.nightly
@pytest.mark.parametrize("improvement", [0.02, 0.2])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_without_effect_long_form(scenario, improvement):
    """Tuned to a large improvement the test is at its most eager early on."""
    experiments = Experiments(2, 500, 5000, **SCENARIOS[scenario])
    looks = [*range(2, 1000), *range(1000, 5001, 10)]
    rejected = ever_rejected(experiments, definition(min_accuracy_improvement=improvement), looks)
    assert rejected.sum() <= most_false_alarms(500)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_peeking_with_the_fixed_test_fails_the_same_simulation(scenario):
    experiments = Experiments(1, 200, 500, **SCENARIOS[scenario])
    critical = stats.norm.isf(ALPHA / 2)
    rejected = np.zeros(200, bool)
    for now in range(20, 501):
        rejected |= np.abs(experiments.naive_z(now)) > critical
    assert rejected.sum() > 2 * most_false_alarms(200)


def test_ignoring_the_overlap_fails_even_at_a_single_look():
    experiments = Experiments(3, 400, 2000, **OVERLAPPING)
    rejected = np.abs(experiments.naive_z(2000)) > stats.norm.isf(ALPHA / 2)
    assert rejected.sum() > 2 * most_false_alarms(400)


@pytest.mark.parametrize("effect", [0.05, -0.1])
def test_a_real_effect_is_found_with_the_stated_power_at_the_stated_size(effect):
    made = definition()
    per_variant = samples_for_verdict(made, effect, power=0.8)
    experiments = Experiments(4, 300, round(2 * per_variant), effect=effect)
    found = (experiments.p_values(made, round(2 * per_variant)) <= made.alpha).sum()
    low, _ = stats.binom.interval(0.999, 300, 0.8)
    assert found >= low


@pytest.mark.parametrize("distribution", ["exponential", "rare", "even"])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_means_of_independent_values_may_be_compared_after_each_of_them(distribution, share):
    """Few values of a small variant are often all alike; that is no evidence."""
    generator = np.random.default_rng(5)
    draw = {
        "exponential": lambda: generator.exponential(1.0, 400),
        "rare": lambda: (generator.random(400) < 0.05).astype(float),
        "even": lambda: (generator.random(400) < 0.5).astype(float),
    }[distribution]
    rejected = sum(ever_different(draw(), generator.random(400) < share) for _ in range(25))
    assert rejected <= most_false_alarms(25)


def ever_different(values, treated) -> bool:
    counts, sums, squares = (
        [(each * variant).cumsum() for variant in (~treated, treated)]
        for each in (np.ones(len(values)), values, values**2)
    )
    for now in range(len(values)):
        variants = (
            Moments(
                n=int(counts[variant][now]),
                total=sums[variant][now],
                square_total=squares[variant][now],
            )
            for variant in (0, 1)
        )
        test = difference_in_means(*variants, alpha=ALPHA, planned_n=50)
        if test is not None and test.p_value <= ALPHA:
            return True
    return False


def test_the_block_method_on_sums_alone():
    experiments = Experiments(10, 40, 600, **OVERLAPPING)
    rejected = 0
    for row in range(40):
        treated, starts = experiments.treated[row], np.arange(0, 600, 20)
        variants = []
        for chosen, right in (
            (~treated, experiments.control_right[row]),
            (treated, experiments.treatment_right[row]),
        ):
            n, hits = (
                np.add.reduceat(each.astype(float), starts) for each in (chosen, chosen & right)
            )
            variants.append(VariantBlocks(n, hits, hits))
        looks = (
            difference_over_blocks(
                *(
                    VariantBlocks(variant.n[:now], variant.total[:now], variant.square_total[:now])
                    for variant in variants
                ),
                alpha=ALPHA,
                planned_n=200,
            )
            for now in range(1, 31)
        )
        rejected += any(test is not None and test.p_value <= ALPHA for test in looks)
    assert rejected <= most_false_alarms(40)


def verdicts(experiments, made, looks, **variants):
    """Each experiment's first verdict at these looks, `continue` without any."""
    found = []
    for row in range(len(experiments.treated)):
        actions = (
            analyse(made, CLOCK, experiments.summaries(row, now, **variants)).recommendation.action
            for now in looks
        )
        found.append(next((each for each in actions if each != "continue"), "continue"))
    return found


HALVES = {"control_traffic": 0.5, "treatment_traffic": 0.5}


def test_without_effect_the_whole_analysis_goes_on():
    experiments = Experiments(6, 30, 1200, **OVERLAPPING)
    made = definition(**HALVES, horizon_s=20)
    found = verdicts(experiments, made, range(200, 1201, 200))
    assert len(found) - found.count("continue") <= most_false_alarms(30)


@pytest.mark.nightly
def test_without_effect_the_whole_analysis_long_form():
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
def test_a_real_difference_leads_to_its_verdict(effect, variants, expected):
    experiments = Experiments(8, 5, 6000, effect=effect)
    found = verdicts(
        experiments, definition(**HALVES), (200, 500, 1000, 2000, 4000, 6000), **variants
    )
    assert found == [expected] * 5
