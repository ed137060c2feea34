"""Versions with reference outputs: registration, promotion, additions and the mandatory form."""

import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from registry import ModelRegistry, ModelStage
from registry.errors import ReferenceMismatchError, UnreadableArtifactError, UnusableModelError
from registry.reference_outputs import dump_recorded
from testkit.models import SHAPE, linear_onnx

WINDOWS = np.random.default_rng(0).standard_normal((50, *SHAPE), dtype=np.float32)
FLAT = WINDOWS.reshape(50, -1).astype(np.float64)
OUTPUTS = {
    "direction_logits": FLAT[:, :3],
    "confidence": 1 / (1 + np.exp(-FLAT[:, 0])),
    "expected_return": FLAT[:, 1],
}


@pytest.fixture
def register(tmp_path):
    """Return a function that registers a model with the reference outputs of weight 1."""
    registry = ModelRegistry(tmp_path / "models")

    async def run(weight=1.0, outputs=OUTPUTS, version="1.0.0", **artifacts):
        (tmp_path / "m.onnx").write_bytes(linear_onnx(weight))
        (tmp_path / "w.npz").write_bytes(dump_recorded(WINDOWS, outputs))
        files = {"windows.npz": tmp_path / "w.npz"}
        for name, content in artifacts.items():
            files[f"{name}.onnx"] = tmp_path / f"{name}.onnx"
            files[f"{name}.onnx"].write_bytes(content)
        await registry.register_model(
            "toy", version, tmp_path / "m.onnx", "Toy", input_shape=SHAPE, artifacts=files
        )
        return registry

    return run


async def test_matching_version_is_promoted_without_warning(register, caplog):
    """A version that returns its reference outputs is registered and promoted."""
    registry = await register()
    with caplog.at_level(logging.WARNING):
        await registry.promote_to_production("toy", "1.0.0")
    assert caplog.messages == []
    metadata = await registry.get_model_metadata("toy", "1.0.0")
    assert set(metadata.reference_outputs) == set(OUTPUTS)


async def test_mismatch_is_rejected_at_registration(register):
    """A model that returns other values is not registered."""
    with pytest.raises(ReferenceMismatchError, match=r"toy/v1.0.0/model.onnx .* 50 of 50 windows"):
        await register(weight=1.01)
    assert await (await register()).list_models()


async def test_every_artifact_is_compared(register):
    """An optimised file that returns other values is rejected, however good the original is."""
    await register(model_int8=linear_onnx(1.01))
    with pytest.raises(ReferenceMismatchError, match=r"v2.0.0/other.onnx"):
        await register(other=linear_onnx(-1.0), version="2.0.0")


async def test_added_artifact_is_compared(register, tmp_path):
    """A file that is added to a version must return its reference outputs, even if not served."""
    registry = await register()
    path = tmp_path / "added.onnx"
    path.write_bytes(linear_onnx(-1.0))
    with pytest.raises(ReferenceMismatchError):
        await registry.add_artifacts("toy", "1.0.0", {"added.onnx": path}, {})
    metadata = await registry.get_model_metadata("toy", "1.0.0")
    assert "added.onnx" not in metadata.artifacts


async def test_reference_outputs_can_be_added_later(tmp_path, register):
    """Outputs that are added to a published version are compared with its files."""
    registry = await register(outputs={}, version="2.0.0")
    assert (await registry.get_model_metadata("toy", "2.0.0")).reference_outputs == ()
    (tmp_path / "m.onnx").write_bytes(linear_onnx())
    await registry.register_model("toy", "3.0.0", tmp_path / "m.onnx", "Toy", input_shape=SHAPE)
    path = tmp_path / "later.npz"
    path.write_bytes(dump_recorded(WINDOWS, {**OUTPUTS, "expected_return": FLAT[:, 2]}))
    with pytest.raises(ReferenceMismatchError, match="expected_return by up to"):
        await registry.add_artifacts("toy", "3.0.0", {"windows.npz": path}, {})
    path.write_bytes(dump_recorded(WINDOWS, OUTPUTS))
    info = await registry.add_artifacts("toy", "3.0.0", {"windows.npz": path}, {})
    assert set(info.metadata.reference_outputs) == set(OUTPUTS)


async def test_version_without_reference_warns_at_promotion(register, caplog):
    """A version without reference outputs is promoted with a warning."""
    registry = await register(outputs={})
    with caplog.at_level(logging.WARNING):
        await registry.set_model_stage("toy", "1.0.0", ModelStage.STAGING)
        assert caplog.messages == []
        await registry.promote_to_production("toy", "1.0.0")
    assert "toy:1.0.0 was promoted without reference outputs" in caplog.text


async def test_incomplete_reference_is_rejected(register):
    """Reference outputs must cover every output of the model."""
    with pytest.raises(UnreadableArtifactError, match="for direction_logits, confidence"):
        await register(outputs={"confidence": OUTPUTS["confidence"]})


def price_onnx():
    """Return a model of prices: the logarithm of the first three, undefined for negative ones."""
    nodes = [
        helper.make_node("Log", ["features"], ["logarithms"]),
        helper.make_node("Reshape", ["logarithms", "flat_shape"], ["flat"]),
        helper.make_node("Slice", ["flat", "start", "end", "axis"], ["direction_logits"]),
    ]
    constants = {"flat_shape": [-1, 6], "start": [0], "end": [3], "axis": [1]}
    graph = helper.make_graph(
        nodes,
        "prices",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", *SHAPE])],
        [helper.make_tensor_value_info("direction_logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


async def test_price_model_is_tried_on_its_own_windows(tmp_path):
    """A model of prices is tried on its own windows; without any, the error states the input."""
    registry = ModelRegistry(tmp_path / "models")
    (tmp_path / "m.onnx").write_bytes(price_onnx())
    prices = 100 + WINDOWS
    (tmp_path / "w.npz").write_bytes(dump_recorded(prices, {}))
    common = {"input_shape": SHAPE, "output_names": {"direction_logits": "direction_logits"}}
    await registry.register_model(
        "own",
        "1.0.0",
        tmp_path / "m.onnx",
        "X",
        artifacts={"windows.npz": tmp_path / "w.npz"},
        **common,
    )
    assert await registry.promote_to_production("own", "1.0.0")
    await registry.register_model("none", "1.0.0", tmp_path / "m.onnx", "X", **common)
    with pytest.raises(UnusableModelError, match=r"used standard normal noise; .* windows.npz"):
        await registry.promote_to_production("none", "1.0.0")
