"""Lost requests of one variant show in the number of outcomes per bot, if coarsely."""

import numpy as np
import pytest

from serve_app.experiments.outcome_ratio import check_outcomes
from serve_app.experiments.records import Variant
from serve_app.experiments.sample_ratio import ALARM
from serve_app.experiments.statistics.unit_moments import LABELLED
from serve_app.experiments.units import UnitTotals, slice_of
from tests.serve_app.experiments.factories import definition

BY_BOT = definition(assignment="unit_id", control_traffic=0.5, treatment_traffic=0.5)


def totals(control, treatment):
    """Bots with so many outcomes each."""
    found = UnitTotals(seen=[len(control), len(treatment)])
    for variant, counts in zip(Variant, (control, treatment), strict=True):
        place = slice_of(variant).start + LABELLED
        found.sums[place] = np.sum(counts)
        found.products[place, place] = np.square(counts).sum()
    return found


def drawn(generator, bots, *, share=0.5, unequal=0.0, rate=40.0, lost=0.0):
    activity = generator.lognormal(0.0, unequal, bots)
    treated = generator.random(bots) < share
    counts = generator.poisson(rate * activity * (1 - lost * treated))
    return totals(counts[~treated], counts[treated])


@pytest.mark.parametrize(("bots", "share", "unequal"), [(100, 0.5, 1.5), (200, 0.1, 1.5)])
def test_no_false_alarm(bots, share, unequal):
    """Unequal bots without losses raise no alarm."""
    generator = np.random.default_rng(1)
    found = [
        check_outcomes(BY_BOT, drawn(generator, bots, share=share, unequal=unequal))
        for _ in range(500)
    ]
    assert sum(ratio is not None and not ratio.healthy for ratio in found) <= 3


@pytest.mark.parametrize("bots", [[40] * 20, [30, 50] * 10])
def test_equal_variants(bots):
    """Equal variants have a p-value of one."""
    found = check_outcomes(BY_BOT, totals(bots, bots))
    assert (found.control, found.treatment, found.healthy) == (40.0, 40.0, True)
    assert found.always_valid_p_value == 1.0


def test_lost_requests():
    """A third of the requests of one variant lost raises an alarm."""
    found = check_outcomes(BY_BOT, drawn(np.random.default_rng(2), 200, lost=0.3))
    assert found.treatment < 0.8 * found.control
    assert found.always_valid_p_value < ALARM
    assert not found.healthy


@pytest.mark.parametrize(
    ("made", "bots"),
    [
        (definition(), 40),
        (BY_BOT, 4),
        (BY_BOT.model_copy(update={"exposure_steps": (0.1, 0.5)}), 40),
    ],
)
def test_not_applicable(made, bots):
    """By request, with few bots and with exposure steps there is no comparison."""
    assert check_outcomes(made, totals([40] * bots, [20] * bots)) is None
