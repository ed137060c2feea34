"""The difference over blocks keeps its level in simulations."""

import numpy as np
import pytest

from serve_app.experiments.statistics.effect import difference_over_blocks
from serve_app.experiments.statistics.estimates import VariantBlocks
from tests.serve_app.experiments.simulation import (
    ALPHA,
    OVERLAPPING,
    Experiments,
    most_false_alarms,
)

pytestmark = pytest.mark.slow


def test_level_of_difference_over_blocks():
    """Looks after every block keep the level with overlapping outcomes."""
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
                np.add.reduceat(values.astype(float), starts) for values in (chosen, chosen & right)
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
