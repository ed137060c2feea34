"""Declarations of ONNX models, read without a library for ONNX."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from registry.predictors import read_declarations
from registry.predictors.onnx_declarations import DeclaredValue
from testkit.models import linear_onnx, price_step_onnx

CLASSES = ("BUY", "HOLD", "SELL")


def with_classes(place):
    """Return a model that names its classes in one of the places where converters write them."""
    model = onnx.load_from_string(linear_onnx())
    match place:
        case "operator":
            model.graph.node.add(op_type="ZipMap", domain="ai.onnx.ml").attribute.append(
                helper.make_attribute("classlabels_strings", list(CLASSES))
            )
        case "initializer":
            model.graph.initializer.append(numpy_helper.from_array(np.array(CLASSES, object), "c"))
        case "json":
            model.metadata_props.add(key="classes", value='["BUY", "HOLD", "SELL"]')
        case "json by index":
            model.metadata_props.add(key="id2label", value='{"1": "HOLD", "0": "BUY", "2": "SELL"}')
        case "json by name":
            model.metadata_props.add(key="label2id", value='{"SELL": 2, "BUY": 0, "HOLD": 1}')
        case "commas":
            model.metadata_props.add(key="names", value="BUY, HOLD, SELL")
    return model.SerializeToString()


def test_values():
    """Inputs and outputs are read with their types and sizes."""
    declared = read_declarations(price_step_onnx())
    assert declared.inputs == (DeclaredValue("features", "float64", (None, 3, 2)),)
    assert declared.outputs == (DeclaredValue("direction_probabilities", "float64", (None, 3)),)
    assert declared.texts == ()


def test_input_with_a_default_is_none():
    """A graph input that has an initializer is a weight, as old exporters list them."""
    model = onnx.load_from_string(linear_onnx())
    model.graph.input.append(helper.make_tensor_value_info("pick", TensorProto.FLOAT, [6, 3]))
    assert [value.name for value in read_declarations(model.SerializeToString()).inputs] == [
        "features"
    ]


@pytest.mark.parametrize(
    "place", ["operator", "initializer", "json", "json by index", "json by name", "commas"]
)
def test_texts(place):
    """The names of the classes are found in operators, initializers and properties."""
    assert CLASSES in read_declarations(with_classes(place)).texts


@pytest.mark.parametrize("content", [b"", b"not a model", linear_onnx()[:100], b"\x3a\xff"])
def test_other_content(content):
    """Content that is no ONNX model declares nothing; loading it gives the error."""
    assert read_declarations(content) is None
