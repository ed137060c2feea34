"""Reference outputs: their file format, and the comparison with them."""

import io

import numpy as np
import pytest

from registry.errors import ReferenceMismatchError, UnreadableArtifactError
from registry.outputs import output_width
from registry.reference_outputs import (
    OPTIMIZED,
    ORIGINAL,
    check_reference,
    compare_with_reference,
    dump_recorded,
    read_recorded,
    recorded_meanings,
    tolerance_of,
)

SHAPE = (3, 2)
PROBABILITIES = np.tile([[0.2, 0.5, 0.3]], (100, 1))
WINDOWS = np.random.default_rng(0).standard_normal((100, *SHAPE), dtype=np.float32)


def read(content, meanings=("direction_probabilities",)):
    widths = {meaning: output_width(meaning, classes=3) for meaning in meanings}
    return read_recorded(content, "toy/v1.0.0/windows.npz", SHAPE, widths)


def changed(rows, values):
    outputs = PROBABILITIES.copy()
    outputs[rows] = values
    return {"direction_probabilities": outputs}


def test_file_keeps_windows_and_outputs():
    """A file that is written and read has the same windows and outputs."""
    content = dump_recorded(WINDOWS, {"direction_probabilities": PROBABILITIES})
    recorded = read(content)
    np.testing.assert_array_equal(recorded.windows, WINDOWS)
    np.testing.assert_array_equal(recorded.outputs["direction_probabilities"], PROBABILITIES)
    assert recorded_meanings(io.BytesIO(content)) == ("direction_probabilities",)


def test_flat_outputs_become_columns():
    """An output of one number per window may lack the last axis."""
    recorded = read(dump_recorded(WINDOWS, {"confidence": np.full(100, 0.5)}), ("confidence",))
    assert recorded.outputs["confidence"].shape == (100, 1)


def test_windows_alone_have_no_outputs(tmp_path):
    """A file of windows has no outputs, and neither has one of another format."""
    content = dump_recorded(WINDOWS, {})
    assert read(content).outputs == {}
    assert recorded_meanings(io.BytesIO(content)) == ()
    assert recorded_meanings(io.BytesIO(b"text")) == ()
    assert recorded_meanings(tmp_path / "missing") == ()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"text", "numpy.savez"),
        (dump_recorded(WINDOWS, {"expected_return": np.zeros(100)}), "it holds expected_return"),
        (dump_recorded(WINDOWS[:, :2], {}), r"of shape \(100, 2, 2\)"),
        (dump_recorded(WINDOWS[:0], {}), r"of shape \(0, 3, 2\)"),
        (
            dump_recorded(WINDOWS, {"direction_probabilities": PROBABILITIES[:50]}),
            r"of shape \(50, 3\)",
        ),
        (
            dump_recorded(WINDOWS, {"direction_probabilities": np.full((100, 3), np.nan)}),
            "NaN or infinity",
        ),
        (
            dump_recorded(WINDOWS, {"direction_probabilities": PROBABILITIES.astype(int)}),
            "it is int64",
        ),
        (dump_recorded(np.full((2, *SHAPE), None), {}), "allow_pickle"),
    ],
)
def test_damaged_file_is_rejected(content, problem):
    """A damaged file, one of other outputs or of another shape is rejected with the reason."""
    with pytest.raises(UnreadableArtifactError, match=problem):
        read(content)


def test_rounding_is_accepted():
    """Outputs that are rounded to float32 agree."""
    expected = {"direction_probabilities": np.random.default_rng(1).dirichlet(np.ones(3), 100)}
    actual = {name: values.astype(np.float32) for name, values in expected.items()}
    agreement = compare_with_reference(expected, actual, ORIGINAL)
    assert (agreement.windows, agreement.differing) == (100, ())
    check_reference("a", agreement, ORIGINAL)


def test_mismatch_names_rows_and_difference():
    """The error states which rows differ, by how much, and how many directions change."""
    actual = changed([3, 8], [[0.6, 0.2, 0.2], [0.2, 0.4, 0.4]])
    agreement = compare_with_reference({"direction_probabilities": PROBABILITIES}, actual, ORIGINAL)
    assert agreement.differing == (3, 8)
    assert (agreement.row, agreement.changed_directions) == (3, 1)
    assert agreement.largest == pytest.approx(0.4)
    with pytest.raises(
        ReferenceMismatchError,
        match=r"2 of 100 windows differ \(rows 3, 8\), direction_probabilities by up to 0.4 in "
        r"row 3, expected at most 2e-05, and 1 directions change",
    ):
        check_reference("toy/v1.0.0/model.onnx", agreement, ORIGINAL)


def test_nan_differs():
    """An element that is NaN differs, whatever the tolerance."""
    actual = changed([5], np.nan)
    for tolerance in (ORIGINAL, OPTIMIZED):
        agreement = compare_with_reference(
            {"direction_probabilities": PROBABILITIES}, actual, tolerance
        )
        assert agreement.differing == (5,)
        with pytest.raises(ReferenceMismatchError, match="by up to nan in row 5"):
            check_reference("a", agreement, tolerance)


def test_returns_are_compared_on_their_own_scale():
    """A difference that is small beside 1 and large beside the returns is a mismatch."""
    expected = {"expected_return": np.linspace(-1e-4, 1e-4, 100)[:, np.newaxis]}
    actual = {"expected_return": expected["expected_return"] + 1e-6}
    assert len(compare_with_reference(expected, actual, ORIGINAL).differing) == 100
    actual = {"expected_return": expected["expected_return"] + 1e-9}
    assert compare_with_reference(expected, actual, ORIGINAL).differing == ()


def test_precision_of_references_limits_comparison():
    """References of half precision are compared at half precision."""
    actual = {"direction_probabilities": PROBABILITIES + 5e-4}
    exact = compare_with_reference({"direction_probabilities": PROBABILITIES}, actual, ORIGINAL)
    half = {"direction_probabilities": PROBABILITIES.astype(np.float16)}
    assert len(exact.differing) == 100
    assert compare_with_reference(half, actual, ORIGINAL).differing == ()


def test_optimised_files_may_differ_slightly():
    """A quantised file may differ by a share of the spread, and keeps 99.5 % of the directions."""
    rng = np.random.default_rng(2)
    expected = {"direction_logits": rng.standard_normal((1000, 3))}
    actual = {
        "direction_logits": expected["direction_logits"] + rng.uniform(-0.01, 0.01, (1000, 3))
    }
    tolerance = tolerance_of("model_int8.onnx")
    agreement = compare_with_reference(expected, actual, tolerance)
    assert agreement.differing == ()
    swapped = {"direction_logits": -expected["direction_logits"] * 1e-3}
    with pytest.raises(ReferenceMismatchError):
        check_reference("a", compare_with_reference(expected, swapped, tolerance), tolerance)


def test_tolerance_by_artifact():
    """The model's own files are compared strictly, and optimised ones with the given tolerance."""
    evidence = {"tolerance": {"floor": 0.01, "relative": 0.5, "direction_agreement": 0.9}}
    assert tolerance_of("model.pt", evidence) is ORIGINAL
    assert tolerance_of("model_fp32_12345678.onnx") is ORIGINAL
    assert tolerance_of("model_quantized.onnx") is OPTIMIZED
    given = tolerance_of("model_quantized.onnx", evidence)
    assert (given.relative, given.direction_agreement) == (0.5, 0.9)


def test_flat_rows():
    """The windows of a model of flat rows may lack the axis of timesteps."""
    content = dump_recorded(WINDOWS.reshape(100, 6), {})
    assert read_recorded(content, "windows.npz", (1, 6), {}).windows.shape == (100, 1, 6)
