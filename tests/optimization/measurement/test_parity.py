"""Parity: the differences between two models."""

import numpy as np
import pytest

from optimization.errors import InvalidInputError, ParityError
from optimization.measurement.parity import (
    NO_DIRECTION,
    Tolerance,
    direction_scores,
    measure_parity,
    require_parity,
)

WINDOWS = np.zeros((2, 3, 4), dtype=np.float32)


def model(logits, confidence=(0.5, 0.5), expected_return=(0, 0)):
    outputs = {
        "direction_logits": np.array(logits, dtype=np.float32),
        "confidence": np.array(confidence, dtype=np.float32)[:, None],
        "expected_return": np.array(expected_return, dtype=np.float32)[:, None],
    }
    return lambda _: outputs


REFERENCE = model([[1, 0, 0], [0, 1, 0]])


def test_element_differences():
    """Differences are measured over the elements of every output."""
    parity = measure_parity(
        REFERENCE, model([[1.5, 0, 0], [0, 1, -0.25]], (0.5, 0.25), (0, 0.5)), WINDOWS
    )
    assert parity.windows == 2
    assert parity.max_abs_difference == {
        "direction_logits": 0.5,
        "confidence": 0.25,
        "expected_return": 0.5,
    }
    assert parity.mean_abs_difference == {
        "direction_logits": 0.125,
        "confidence": 0.125,
        "expected_return": 0.25,
    }
    assert parity.direction_agreement == 1


def test_direction_agreement():
    """The agreement is the share of windows with the same class."""
    parity = measure_parity(REFERENCE, model([[1, 0, 0], [0, 0, 1]]), WINDOWS)
    assert parity.direction_agreement == 0.5


def test_require_parity():
    """Within the tolerance the parity is returned."""
    near = model([[1.0001, 0, 0], [0, 1, 0]])
    assert require_parity(REFERENCE, near, WINDOWS, tolerance=0.001).windows == 2


def test_require_parity_beyond_tolerance():
    """The error names the output and the difference."""
    far = model([[1, 0, 0], [0, 1, 0]], confidence=(0.5, 0.75))
    with pytest.raises(ParityError, match=r"in confidence: .* by up to 0\.25 on 2 windows"):
        require_parity(REFERENCE, far, WINDOWS)


def test_require_parity_nan():
    """NaN is beyond any tolerance."""
    with pytest.raises(ParityError, match="by up to nan on"):
        require_parity(REFERENCE, model([[1, 0, np.nan], [0, 1, 0]]), WINDOWS)


def test_other_names_and_shapes():
    """Other names, other shapes and a missing batch are errors."""
    with pytest.raises(ParityError, match="names"):
        measure_parity(REFERENCE, lambda _: {"logits": np.zeros((2, 3))}, WINDOWS)
    with pytest.raises(ParityError, match=r"expected the shape \(2, 3\), received \(2, 2\)"):
        measure_parity(REFERENCE, model([[1, 0], [0, 1]]), WINDOWS)
    with pytest.raises(ParityError, match=r"batch of 2 its shape is \(1, 3\)"):
        measure_parity(REFERENCE, model([[1, 0, 0]]), WINDOWS)


def test_no_windows():
    """A comparison needs at least one window."""
    with pytest.raises(InvalidInputError, match="at least one window"):
        measure_parity(REFERENCE, REFERENCE, WINDOWS[:0])


def test_tolerance_in_spreads():
    """The confidence varies by 0.1 on either side, so 0.02 is a fifth of its spread."""
    reference = model([[5, 0, 0], [0, 5, 0]], (0.4, 0.6), (0.001, 0.002))
    near = model([[5, 0, 0], [0, 5, 0]], (0.42, 0.6), (0.001, 0.002))
    parity = measure_parity(reference, near, WINDOWS)
    assert parity.spread["confidence"] == pytest.approx(0.1, rel=1e-5)
    assert parity.max_relative_difference == pytest.approx(0.2, rel=1e-5)
    Tolerance(relative=0.21, floor=0).check(parity)
    with pytest.raises(ParityError, match=r"in confidence: .* 0\.02 on .* most 0\.019, that is"):
        Tolerance(relative=0.19, floor=0).check(parity)


def test_tolerance_of_direction():
    """A share of changed directions beyond the tolerance is an error."""
    parity = measure_parity(
        model([[1, 0.999, 0], [0, 1, 0]]), model([[0.999, 1, 0], [0, 1, 0]]), WINDOWS
    )
    with pytest.raises(ParityError, match=r"direction: it is the same on 50\.00% of 2 windows"):
        Tolerance().check(parity)


def test_tolerance_of_constant_output():
    """Rounding of an output that never varies is within the tolerance."""
    constant = model([[1, 0, 0], [0, 1, 0]], (0.5, 0.5), (0.003, 0.003))
    rounded = model([[1, 0, 0], [0, 1, 0]], (0.5, 0.5 + 6e-8), (0.003, 0.003))
    parity = measure_parity(constant, rounded, WINDOWS)
    Tolerance().check(parity)
    assert parity.max_relative_difference < 1e-3


def test_tolerance_of_nan():
    """NaN is beyond the widest tolerance."""
    parity = measure_parity(REFERENCE, model([[1, 0, np.nan], [0, 1, 0]]), WINDOWS)
    with pytest.raises(ParityError, match="by up to nan on"):
        Tolerance(direction_agreement=0, relative=1e9).check(parity)


def test_direction_scores():
    """The direction is an output of width three, preferably one named after logits."""
    width = {
        name: np.zeros((2, size)) for name, size in {"hidden": 3, "logits": 3, "all": 64}.items()
    }
    assert direction_scores(width) is width["logits"]
    assert direction_scores({"hidden": width["hidden"]}) is width["hidden"]
    assert direction_scores({"all": width["all"]}) is None
    assert direction_scores({"hidden": width["hidden"]}, NO_DIRECTION) is None
