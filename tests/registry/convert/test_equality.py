"""Whether the digits of windows beyond float32 decide a model's outputs."""

import numpy as np
import pytest

from registry.convert.equality import needs_doubles
from registry.convert.trained_model import TrainedModel


@pytest.mark.parametrize(
    ("level", "kind", "expected"),
    [(0.0, np.float64, False), (65_432.0, np.float64, True), (65_432.0, np.float32, False)],
)
def test_needs_doubles(level, kind, expected):
    """Only windows in float64 whose rounding changes an output need a model of doubles."""
    trained = TrainedModel(
        model_type="Difference",
        framework="none",
        converter="none",
        width=2,
        classes=None,
        predict=lambda rows: np.subtract(*np.float64(rows).T[:2])[:, None],
        to_onnx=lambda: None,
        losses=(),
        versions={},
    )
    steps = np.random.default_rng(0).standard_normal((50, 1, 2))
    assert needs_doubles(trained, (level + steps * 0.01).astype(kind)) == expected
