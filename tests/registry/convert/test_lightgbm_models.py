"""The text of a LightGBM model is corrected before it is converted."""

import numpy as np

from registry.convert.lightgbm_models import corrected

TEXT = """tree
num_tree_per_iteration=1
average_output
tree_sizes=12 34
Tree=0
threshold=0.1 -1.0000000180025095e-35 1.5
decision_type=2 2 2
leaf_value=2 4
Tree=1
threshold=
leaf_value=6

end of trees
[boosting: rf]
"""


def test_thresholds_are_rounded_down():
    """A threshold becomes the largest float32 value that is not above it."""
    (line,) = (line for line in corrected(TEXT).splitlines() if line.startswith("threshold=0"))
    first, almost_zero, last = map(float, line.removeprefix("threshold=").split())
    assert first <= 0.1 < float(np.nextafter(np.float32(first), np.float32(1)))
    assert almost_zero < -1.0000000180025095e-35
    assert last == 1.5


def test_average_becomes_sum():
    """The leaves of a forest are divided by the number of iterations."""
    text = corrected(TEXT)
    assert "leaf_value=1.0 2.0" in text
    assert "leaf_value=3.0" in text
    assert "average_output" not in text
    assert "tree_sizes" not in text
    assert "threshold=\n" in text
