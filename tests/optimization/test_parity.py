"""Parity: how far two models are apart."""

import numpy as np
import pytest

from optimization.errors import InvalidInputError, ParityError
from optimization.parity import measure_parity, require_parity

WINDOWS = np.zeros((2, 3, 4), dtype=np.float32)


def model(logits, confidence=(0.5, 0.5), expected_return=(0, 0)):
    outputs = {
        "direction_logits": np.array(logits, dtype=np.float32),
        "confidence": np.array(confidence, dtype=np.float32)[:, None],
        "expected_return": np.array(expected_return, dtype=np.float32)[:, None],
    }
    return lambda _: outputs


REFERENCE = model([[1, 0, 0], [0, 1, 0]])


def test_differences_are_measured_over_single_elements_of_every_output():
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


def test_direction_agreement_is_the_share_of_windows_with_the_same_class():
    parity = measure_parity(REFERENCE, model([[1, 0, 0], [0, 0, 1]]), WINDOWS)
    assert parity.direction_agreement == 0.5


def test_within_the_tolerance_the_evidence_is_returned():
    near = model([[1.0001, 0, 0], [0, 1, 0]])
    assert require_parity(REFERENCE, near, WINDOWS, tolerance=0.001).windows == 2


def test_beyond_the_tolerance_the_output_and_the_distance_are_named():
    far = model([[1, 0, 0], [0, 1, 0]], confidence=(0.5, 0.75))
    with pytest.raises(ParityError, match=r"in confidence: .* 0\.25 apart on 2 windows"):
        require_parity(REFERENCE, far, WINDOWS)


def test_a_nan_is_never_within_the_tolerance():
    with pytest.raises(ParityError, match="nan apart"):
        require_parity(REFERENCE, model([[1, 0, np.nan], [0, 1, 0]]), WINDOWS)


def test_outputs_of_other_names_or_shapes_do_not_agree():
    with pytest.raises(ParityError, match="names"):
        measure_parity(REFERENCE, lambda _: {"logits": np.zeros((2, 3))}, WINDOWS)
    with pytest.raises(ParityError, match=r"expected the shape \(2, 3\), received \(1, 3\)"):
        measure_parity(REFERENCE, model([[1, 0, 0]]), WINDOWS)


def test_no_windows_prove_nothing():
    with pytest.raises(InvalidInputError, match="at least one window"):
        measure_parity(REFERENCE, REFERENCE, WINDOWS[:0])
