"""The always-valid difference in means keeps its level in simulations."""

import numpy as np
import pytest

from serve_app.experiments.statistics.sequential import Moments, difference_in_means
from tests.serve_app.experiments.simulation import ALPHA, most_false_alarms

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("distribution", ["exponential", "rare", "even"])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_level_of_difference_in_means(distribution, share):
    """Looks after every value keep the level for any distribution.

    Few values of a small variant are often all equal, which is no evidence.
    """
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
        [(powers * variant).cumsum() for variant in (~treated, treated)]
        for powers in (np.ones(len(values)), values, values**2)
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
