"""The blocks of an experiment become arrays."""

import pytest

from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.summary import VariantSummary
from serve_app.experiments.table import tabulate
from tests.serve_app.experiments.factories import START, definition, outcome, prediction


def test_default_horizon():
    """A single early outcome does not shorten a horizon that was not stated."""
    variant = VariantSummary()
    for second in range(100):
        record = prediction(float(second))
        variant.add_prediction(record)
        variant.add_outcome(
            record, outcome(0.01, seconds=second + (1 if second == 0 else 7200)), 0.0
        )
    made = definition()
    table = tabulate(made, BlockClock.of(made, START), [Block(block=0, control=variant)])
    assert table.horizon_s == pytest.approx(7200, rel=0.02)
    assert table.block_s >= table.horizon_s
