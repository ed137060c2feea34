"""From artifacts to predictions."""

import numpy as np
import pytest

from registry.errors import MissingArtifactError, UnreadableArtifactError
from serve_app.errors import ModelOutputError
from serve_app.inference.prediction import Failure, Prediction, decode
from serve_app.inference.predictor import choose_artifact, load_predictor
from tests.factories import IDENTITY, linear_onnx, metadata


def outputs(logits, confidence=0.5, expected_return=0.01):
    batch = len(logits)
    return {
        "direction_logits": np.array(logits, dtype=np.float32),
        "confidence": np.full((batch, 1), confidence, dtype=np.float32),
        "expected_return": np.full((batch, 1), expected_return, dtype=np.float32),
    }


def test_directions_are_hold_0_buy_1_sell_2():
    rows = [[9, 0, 0], [0, 9, 0], [0, 0, 9]]
    assert [each.direction for each in decode(outputs(rows), IDENTITY)] == [0, 1, 2]


def test_another_class_order_is_mapped_never_mislabelled():
    """A model trained with 0=SELL, 1=HOLD, 2=BUY answers 2, 0, 1 on the wire."""
    rows = [[9, 0, 0], [0, 9, 0], [0, 0, 9]]
    label_map = {0: "SELL", 1: "HOLD", 2: "BUY"}
    assert [each.direction for each in decode(outputs(rows), label_map)] == [2, 0, 1]


def test_a_row_that_is_not_finite_fails_alone():
    values = outputs([[9, 0, 0], [0, np.nan, 0], [0, 0, 9]])
    values["confidence"][2] = np.inf
    assert decode(values, IDENTITY) == [
        Prediction(0, 0.5, pytest.approx(0.01)),
        Failure("an output is NaN or infinite"),
        Failure("an output is NaN or infinite"),
    ]


def test_an_onnx_model_answers_any_batch():
    predictor = load_predictor(linear_onnx(), metadata(), num_threads=1)
    windows = np.arange(5 * 6, dtype=np.float32).reshape(5, 3, 2)
    values = predictor(windows)
    np.testing.assert_allclose(values["direction_logits"], windows.reshape(5, 6)[:, :3])
    np.testing.assert_allclose(values["expected_return"], windows.reshape(5, 6)[:, 1:2])


def test_outputs_are_found_by_the_names_in_the_metadata():
    swapped = {
        "direction_logits": "direction_logits",
        "confidence": "expected_return",
        "expected_return": "confidence",
    }
    predictor = load_predictor(linear_onnx(), metadata(output_names=swapped), num_threads=1)
    values = predictor(np.full((1, 3, 2), 7, dtype=np.float32))
    assert values["confidence"].tolist() == [[7.0]]


def test_onnx_serves_when_the_version_has_it_and_the_checkpoint_otherwise():
    both = {"model.pt": "0", "model.onnx": "0"}
    assert choose_artifact(metadata(artifacts=both)) == "model.onnx"
    assert choose_artifact(metadata(artifacts={"model.pt": "0"})) == "model.pt"
    with pytest.raises(MissingArtifactError, match=r"model\.onnx or model\.pt"):
        choose_artifact(metadata(artifacts={"notes.txt": "0"}))


@pytest.mark.parametrize("content", [b"", b"not onnx", linear_onnx()[:100]])
def test_a_file_that_is_no_model_is_named(content):
    with pytest.raises(UnreadableArtifactError, match=r"toy/v1\.0\.0/model\.onnx as an ONNX model"):
        load_predictor(content, metadata(), num_threads=1)


def test_a_model_without_the_promised_outputs_is_refused():
    names = {"direction_logits": "logits", "confidence": "confidence", "expected_return": "r"}
    with pytest.raises(
        UnreadableArtifactError, match="it has direction_logits, confidence, expected_return"
    ):
        load_predictor(linear_onnx(), metadata(output_names=names), num_threads=1)


def test_a_model_for_another_input_shape_is_refused():
    with pytest.raises(UnreadableArtifactError, match=r"input of shape \(batch, 3, 4\)"):
        load_predictor(linear_onnx(), metadata(input_shape=(3, 4)), num_threads=1)


def test_a_model_that_answers_nan_is_refused_before_it_serves():
    with pytest.raises(ModelOutputError, match="on a warm-up batch of 1, expected finite"):
        load_predictor(linear_onnx(weight=float("nan")), metadata(), num_threads=1)
