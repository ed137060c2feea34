"""Metadata and small ONNX models."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from registry.records import OUTPUTS, ModelMetadata
from serve_app.versions import VersionRef

SHAPE = (3, 2)
IDENTITY = dict(enumerate(("HOLD", "BUY", "SELL")))


def metadata(**fields: Any) -> ModelMetadata:
    """Return metadata of a version with 3 timesteps x 2 features, with `fields` replaced."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    defaults: dict[str, Any] = {
        "name": "toy",
        "version": "1.0.0",
        "created_at": now,
        "updated_at": now,
        "model_type": "Toy",
        "input_shape": SHAPE,
        "output_names": {output: output for output in OUTPUTS},
        "label_map": IDENTITY,
        "model_size_mb": 0.1,
        "artifacts": {"model.onnx": "0" * 64},
    }
    return ModelMetadata(**{**defaults, **fields})


def toy(version: str) -> VersionRef:
    """Return the reference to a version of the model that `metadata` describes."""
    return VersionRef("toy", version)


def linear_onnx(weight: float = 1.0, shape: tuple[int, int] = SHAPE) -> bytes:
    """Return an ONNX model whose outputs follow from the first three numbers of a window.

    direction_logits are these three times `weight`, confidence is the sigmoid of the first,
    expected_return is the second.
    """
    nodes = [
        helper.make_node("Reshape", ["features", "flat_shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "pick"], ["direction_logits"]),
        helper.make_node("Slice", ["flat", "at0", "at1", "axis"], ["first"]),
        helper.make_node("Slice", ["flat", "at1", "at2", "axis"], ["expected_return"]),
        helper.make_node("Sigmoid", ["first"], ["confidence"]),
    ]
    pick = np.zeros((shape[0] * shape[1], 3), dtype=np.float32)
    pick[[0, 1, 2], [0, 1, 2]] = weight
    constants: dict[str, NDArray[Any]] = {
        "flat_shape": np.array([-1, shape[0] * shape[1]]),
        "pick": pick,
        "at0": np.array([0]),
        "at1": np.array([1]),
        "at2": np.array([2]),
        "axis": np.array([1]),
    }
    return _onnx(nodes, constants, shape)


def batch_telling_onnx() -> bytes:
    """Return an ONNX model of windows of SHAPE that outputs the batch size of its run.

    expected_return is the size of the batch. direction_logits are the first three numbers of a
    window, all NaN if the first is above 1000, and confidence is always 0.5.
    """
    nodes = [
        helper.make_node("Reshape", ["features", "flat_shape"], ["flat"]),
        helper.make_node("Slice", ["flat", "at0", "at1", "axis"], ["first"]),
        helper.make_node("Slice", ["flat", "at0", "at3", "axis"], ["first_three"]),
        helper.make_node("Mul", ["first", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "one"], ["ones"]),
        helper.make_node("ReduceSum", ["ones", "batch_axis"], ["size"], keepdims=1),
        helper.make_node("Add", ["zeros", "size"], ["expected_return"]),
        helper.make_node("Sigmoid", ["zeros"], ["confidence"]),
        helper.make_node("Sub", ["limit", "first"], ["below_limit"]),
        helper.make_node("Sqrt", ["below_limit"], ["nan_above_limit"]),
        helper.make_node("Mul", ["nan_above_limit", "zero"], ["zero_or_nan"]),
        helper.make_node("Add", ["first_three", "zero_or_nan"], ["direction_logits"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "flat_shape": np.array([-1, SHAPE[0] * SHAPE[1]]),
        "at0": np.array([0]),
        "at1": np.array([1]),
        "at3": np.array([3]),
        "axis": np.array([1]),
        "batch_axis": np.array([0]),
        "zero": np.array(0, dtype=np.float32),
        "one": np.array(1, dtype=np.float32),
        "limit": np.array(1000, dtype=np.float32),
    }
    return _onnx(nodes, constants, SHAPE)


def _onnx(
    nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]], shape: tuple[int, int]
) -> bytes:
    """Return a model of these nodes from `features` to the three usual outputs."""
    widths = {"direction_logits": 3, "confidence": 1, "expected_return": 1}
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", *shape])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
            for name, width in widths.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def price_step_onnx() -> bytes:
    """Return an ONNX model of doubles, of windows of SHAPE: BUY after a rise of the last row.

    direction_probabilities depend on the difference between the last two rows, which float32 does
    not resolve for prices such as 65432.12.
    """
    nodes = [
        helper.make_node("Slice", ["features", "two", "three", "one"], ["last"]),
        helper.make_node("Slice", ["features", "one", "two", "one"], ["before"]),
        helper.make_node("Sub", ["last", "before"], ["step"]),
        helper.make_node("ReduceSum", ["step", "both"], ["sum"], keepdims=0),
        helper.make_node("Unsqueeze", ["sum", "one"], ["column"]),
        helper.make_node("Mul", ["column", "scale"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["direction_probabilities"], axis=1),
    ]
    constants = {
        **{name: np.array([at]) for at, name in enumerate(("one", "two", "three"), start=1)},
        "both": np.array([1, 2]),
        "scale": np.array([[0.0, 1e3, -1e3]]),
    }
    graph = helper.make_graph(
        nodes,
        "price_step",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, ["batch", *SHAPE])],
        [
            helper.make_tensor_value_info(
                "direction_probabilities", TensorProto.DOUBLE, ["batch", 3]
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def linear_onnx_file(folder: Path, weight: float = 1.0, shape: tuple[int, int] = SHAPE) -> Path:
    """Write `linear_onnx` to a file in `folder` and return its path."""
    path = folder / f"linear-{weight}.onnx"
    path.write_bytes(linear_onnx(weight, shape))
    return path
