"""Windows, split among the inputs of a model."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from registry.predictors import load_predictor
from registry.predictors.inputs import split_of
from testkit.models import metadata

WINDOWS = np.arange(12, dtype=np.float32).reshape(2, 3, 2)


def split(**declared):
    inputs = split_of(declared, (3, 2))
    return None if inputs is None else {name: v.tolist() for name, v in inputs(WINDOWS).items()}


def test_one_input():
    """The only input receives the window as a matrix or as a flat row."""
    assert split(x=("b", 3, 2))["x"] == WINDOWS.tolist()
    assert split(x=(None, None, "f"))["x"] == WINDOWS.tolist()
    assert split(x=("b", 6))["x"] == WINDOWS.reshape(2, 6).tolist()


def test_several_inputs_by_columns():
    """Inputs over all timesteps receive the next columns each."""
    parts = split(price=("b", 3, 1), volume=("b", None, 1))
    assert parts["price"] == WINDOWS[:, :, :1].tolist()
    assert parts["volume"] == WINDOWS[:, :, 1:].tolist()


def test_several_inputs_by_numbers():
    """Otherwise each input receives the next numbers of the flat row, in its own shape."""
    parts = split(bars=("b", 2, 2), age=("b", 1), size=("b", 1))
    assert parts["bars"] == WINDOWS.reshape(2, 6)[:, :4].reshape(2, 2, 2).tolist()
    assert (parts["age"], parts["size"]) == ([[4], [10]], [[5], [11]])


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"x": ("b", 3, 3)},
        {"x": (6,)},
        {"x": ("b", 3, 1), "y": ("b", 3, 2)},
        {"x": ("b", 3, "f"), "y": ("b", 3, 1)},
        {"x": ("b", 5), "y": ("b",)},
    ],
)
def test_inputs_that_do_not_fit(declared):
    """Inputs that do not take every number of a window exactly once do not fit."""
    assert split(**declared) is None


def test_model_of_several_inputs():
    """A model of one input per column, as converted from a data frame, is served."""
    names = ["a", "b", "c"]
    graph = helper.make_graph(
        [helper.make_node("Concat", names, ["direction_logits"], axis=1)],
        "columns",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in names],
        [helper.make_tensor_value_info("direction_logits", TensorProto.FLOAT, [None, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    of = metadata(input_shape=(3,), output_names={"direction_logits": "direction_logits"})
    predictor = load_predictor(model.SerializeToString(), of, num_threads=1)
    rows = np.array([[[1, 2, 3]], [[4, 5, 6]]], dtype=np.float32)
    assert predictor(rows)["direction_logits"].tolist() == [[1, 2, 3], [4, 5, 6]]
