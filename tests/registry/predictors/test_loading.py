"""Loading artifacts as predictors, and the artifacts that are rejected."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from registry.architectures import HybridCNNLSTM, save_checkpoint
from registry.errors import (
    InvalidMetadataError,
    MissingArtifactError,
    MissingPackageError,
    ReferenceMismatchError,
    UnknownArchitectureError,
    UnreadableArtifactError,
    UnusableModelError,
)
from registry.predictors import (
    artifacts_to_try,
    choose_artifact,
    import_library,
    load_predictor,
    try_artifact,
)
from registry.reference_outputs import dump_recorded
from testkit.models import linear_onnx, metadata, price_step_onnx

PROBABILITIES = {"direction_probabilities": "direction_probabilities"}
LOGITS_ONLY = {"direction_logits": "direction_logits"}
CHECKPOINT = {
    "model_type": "HybridCNNLSTM",
    "artifacts": {"model.pt": "0"},
    "input_shape": (4, 2),
}


def onnx_model(nodes, input_shape, outputs, input_type=TensorProto.FLOAT):
    """Return an ONNX model from `features` to `outputs` (shape by name), all of them float."""
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("features", input_type, input_shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in outputs.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def identity_onnx(input_shape, output_shape=("batch", 3), input_type=TensorProto.FLOAT):
    """Return a model that returns rows of three numbers as its direction_logits."""
    cast = helper.make_node("Cast", ["features"], ["direction_logits"], to=TensorProto.FLOAT)
    return onnx_model([cast], input_shape, {"direction_logits": output_shape}, input_type)


def identity_metadata(**fields):
    return metadata(**{"input_shape": (1, 3), "output_names": LOGITS_ONLY, **fields})


def try_all(of, read):
    """Try out every artifact that could serve, in this process."""
    for artifact in artifacts_to_try(of):
        try_artifact(artifact, read(artifact), of)


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    network = HybridCNNLSTM(input_size=2, lstm_hidden_size=4, lstm_layers=1)
    save_checkpoint(network, tmp_path / "model.pt")
    return (tmp_path / "model.pt").read_bytes()


def test_onnx_model_accepts_any_batch():
    """An ONNX model returns the outputs of a batch of any size."""
    predictor = load_predictor(linear_onnx(), metadata(), num_threads=1)
    windows = np.arange(5 * 6, dtype=np.float32).reshape(5, 3, 2)
    values = predictor(windows)
    np.testing.assert_allclose(values["direction_logits"], windows.reshape(5, 6)[:, :3])
    np.testing.assert_allclose(values["expected_return"], windows.reshape(5, 6)[:, 1:2])


def test_outputs_are_found_by_declared_name():
    """Outputs are found by the names in the metadata, not by their meaning."""
    swapped = {"direction_logits": "direction_logits", "expected_return": "confidence"}
    predictor = load_predictor(linear_onnx(), metadata(output_names=swapped), num_threads=1)
    values = predictor(np.full((1, 3, 2), -1e9, dtype=np.float32))
    assert values.keys() == swapped.keys()
    assert values["expected_return"].tolist() == [[0.0]]


def test_flat_model_receives_row_order():
    """A model of flat rows receives each window in row order."""
    of = identity_metadata(input_shape=(3, 1))
    predictor = load_predictor(identity_onnx(["batch", 3]), of, num_threads=1)
    windows = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    assert predictor(windows)["direction_logits"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_double_model():
    """A model of doubles receives and returns doubles, whose directions are its own."""
    of = metadata(input_type="float64", output_names=PROBABILITIES)
    predictor = load_predictor(price_step_onnx(), of, num_threads=1)
    window = np.full((3, 2), 65432.12)
    window[2] += 0.001
    values = predictor(np.stack([window, 2 * 65432.12 - window]))["direction_probabilities"]
    assert (values.argmax(axis=1).tolist(), values.dtype) == ([1, 2], np.float64)


@pytest.mark.parametrize(
    ("content", "input_type", "problem"),
    [
        (price_step_onnx(), "float32", r"its input is tensor\(double\)"),
        (linear_onnx(), "float64", r"its input is tensor\(float\)"),
    ],
)
def test_model_of_another_type_is_rejected(content, input_type, problem):
    """A file whose input has another type than the version's would receive rounded windows."""
    with pytest.raises(UnreadableArtifactError, match=problem):
        load_predictor(
            content,
            metadata(
                input_type=input_type,
                output_names=PROBABILITIES if input_type == "float32" else LOGITS_ONLY,
            ),
            1,
        )


def test_checkpoint_of_a_double_version_is_rejected(checkpoint):
    """A checkpoint takes float32, so it cannot serve a version of float64."""
    of = metadata(**CHECKPOINT, input_type="float64")
    with pytest.raises(UnreadableArtifactError, match="a checkpoint takes float32"):
        load_predictor(checkpoint, of, num_threads=1)


def test_windows_of_a_double_version_keep_their_digits():
    """The trial run compares a float64 model with its reference outputs on its own doubles."""
    windows = np.full((2, 3, 2), 65432.12)
    windows[0, 2] += 0.001
    windows[1, 2] -= 0.001
    expected = {
        "direction_probabilities": np.array([[0.1065, 0.7870, 0.1065], [0.1065, 0.1065, 0.7870]])
    }
    of = metadata(input_type="float64", output_names=PROBABILITIES, artifacts={"windows.npz": "0"})
    recorded = dump_recorded(windows, expected)
    with pytest.raises(ReferenceMismatchError):
        try_artifact("model.onnx", price_step_onnx(), of, recorded=recorded)
    session = onnxruntime.InferenceSession(price_step_onnx())
    expected["direction_probabilities"] = session.run(None, {"features": windows})[0]
    try_artifact("model.onnx", price_step_onnx(), of, recorded=dump_recorded(windows, expected))


def test_single_value_without_second_axis():
    """An output of one value per window may have the shape (batch,)."""
    nodes = [
        helper.make_node("Identity", ["features"], ["direction_logits"]),
        helper.make_node("ReduceMean", ["features"], ["mean"], axes=[1], keepdims=0),
    ]
    content = onnx_model(nodes, ["batch", 3], {"direction_logits": ["batch", 3], "mean": ["batch"]})
    of = identity_metadata(output_names={**LOGITS_ONLY, "expected_return": "mean"})
    values = load_predictor(content, of, num_threads=1)(
        np.array([[[1, 2, 3]], [[4, 5, 6]]], dtype=np.float32)
    )
    assert values["expected_return"].tolist() == [[2], [5]]


def test_onnx_is_preferred():
    """model.onnx serves if it exists, otherwise model.pt, otherwise nothing."""
    both = {"model.pt": "0", "model.onnx": "0"}
    assert choose_artifact(metadata(artifacts=both)) == "model.onnx"
    assert choose_artifact(metadata(artifacts={"model.pt": "0"})) == "model.pt"
    with pytest.raises(MissingArtifactError, match=r"model\.onnx or model\.pt"):
        choose_artifact(metadata(artifacts={"notes.txt": "0", "model_quantized.onnx": "0"}))


def test_missing_serving_artifact():
    """A serving artifact that does not exist is an error; no other artifact replaces it."""
    with pytest.raises(MissingArtifactError, match=r"one of model\.onnx; pin another"):
        choose_artifact(metadata(serving_artifact="model_int8.onnx"))


@pytest.mark.parametrize("content", [b"", b"not onnx", linear_onnx()[:100], linear_onnx()[:-1]])
def test_invalid_onnx_file(content):
    """A file that is not an ONNX model is named in the error."""
    with pytest.raises(UnreadableArtifactError, match=r"toy/v1\.0\.0/model\.onnx as an ONNX model"):
        load_predictor(content, metadata(), num_threads=1)


def test_missing_output():
    """A model without a declared output is rejected."""
    names = {"direction_logits": "logits", "confidence": "confidence", "expected_return": "r"}
    with pytest.raises(
        UnreadableArtifactError,
        match="its outputs are direction_logits, confidence, expected_return",
    ):
        load_predictor(linear_onnx(), metadata(output_names=names), num_threads=1)


def test_insufficient_output_names():
    """Output names that are not sufficient for a prediction are rejected."""
    of = metadata().model_copy(update={"output_names": {"confidence": "confidence"}})
    with pytest.raises(InvalidMetadataError, match="output_names: expected exactly one"):
        load_predictor(linear_onnx(), of, num_threads=1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (linear_onnx(), r"shape \(batch, 3, 4\) or \(batch, 12\): its inputs are features"),
        (identity_onnx(["batch", 3]), r"its inputs are features tensor\(float\) \['batch', 3\]"),
        (identity_onnx([3]), r"its inputs are features tensor\(float\) \[3\]"),
        (
            identity_onnx(["b", 12], input_type=TensorProto.INT64),
            r"its inputs are features tensor\(int",
        ),
    ],
)
def test_other_input(content, problem):
    """A model with an input of another shape or type is rejected."""
    of = metadata(input_shape=(3, 4), output_names=LOGITS_ONLY)
    with pytest.raises(UnreadableArtifactError, match=problem):
        load_predictor(content, of, num_threads=1)


def test_two_inputs():
    """A model with two inputs is rejected."""
    model = onnx.load_from_string(linear_onnx())
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch"]))
    with pytest.raises(
        UnreadableArtifactError, match=r"inputs of float .* its inputs are features .*, mask"
    ):
        load_predictor(model.SerializeToString(), metadata(), num_threads=1)


def test_external_weights(tmp_path, monkeypatch):
    """External weights are rejected even in the working directory: no checksum covers them."""
    model = onnx.load_from_string(linear_onnx())
    onnx.save_model(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    monkeypatch.chdir(tmp_path)
    assert (tmp_path / "w").stat().st_size > 0
    with pytest.raises(UnreadableArtifactError, match="all its weights in the one file"):
        load_predictor((tmp_path / "m.onnx").read_bytes(), metadata(), num_threads=1)


def test_nan_output():
    """A model that returns NaN is rejected before it serves."""
    with pytest.raises(UnusableModelError, match="on a warm-up batch of 1, an output is NaN"):
        load_predictor(linear_onnx(weight=float("nan")), metadata(), num_threads=1)


def test_logits_declared_as_probabilities():
    """Logits that are declared as probabilities are rejected."""
    of = metadata(output_names={"direction_probabilities": "direction_logits"})
    with pytest.raises(UnusableModelError, match="direction_probabilities are not between 0 and 1"):
        load_predictor(linear_onnx(), of, num_threads=1)


def test_output_of_other_width():
    """An output of another width than its meaning requires is rejected."""
    of = metadata(output_names={"direction_logits": "confidence"})
    with pytest.raises(
        UnusableModelError,
        match=r"model\.onnx .* direction_logits of shape \(1, 3\), received \(1, 1\)",
    ):
        load_predictor(linear_onnx(), of, num_threads=1)


def test_fixed_batch():
    """A model with a fixed batch size of 1 is rejected, since requests are batched."""
    content = identity_onnx([1, 3], output_shape=[1, 3])
    with pytest.raises(UnusableModelError, match="it does not run on a batch of 2"):
        load_predictor(content, identity_metadata(), num_threads=1)


def test_checkpoint_runs(checkpoint):
    """A checkpoint is loaded and run."""
    try_all(metadata(**CHECKPOINT), {"model.pt": checkpoint}.__getitem__)


def test_trial_keeps_thread_count(checkpoint):
    """Trying an artifact does not change the number of PyTorch threads; load_predictor does."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        try_all(metadata(**CHECKPOINT), {"model.pt": checkpoint}.__getitem__)
        assert torch.get_num_threads() == 2
        load_predictor(checkpoint, metadata(**CHECKPOINT), num_threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_steps(checkpoint):
    """Loading and each run are separate steps, and each is announced."""
    steps = []
    of = metadata(**CHECKPOINT)
    try_artifact("model.pt", checkpoint, of, lambda: steps.append("step"))
    assert steps == ["step"] * 3


@pytest.mark.parametrize("broken", ["model.onnx", "model.pt", "model_quantized.onnx"])
def test_every_runnable_artifact_is_tried(checkpoint, broken):
    """Every artifact that could serve is tried, not only the selected one."""
    good = linear_onnx(shape=(4, 2))
    contents = {"model.pt": checkpoint, "model.onnx": good, "model_quantized.onnx": good}
    of = metadata(**{**CHECKPOINT, "artifacts": {**dict.fromkeys(contents, "0"), "notes.txt": "0"}})
    try_all(of, contents.__getitem__)
    with pytest.raises(UnreadableArtifactError, match=f"toy/v1.0.0/{broken}"):
        try_all(of, {**contents, broken: b"damaged"}.__getitem__)


def test_nothing_to_serve():
    """A version without a runnable artifact is rejected."""
    with pytest.raises(MissingArtifactError, match=r"model\.onnx or model\.pt"):
        try_all(metadata(artifacts={"notes.txt": "0"}), {}.__getitem__)


def test_pickled_module(tmp_path):
    """A pickled module is rejected and never unpickled."""
    torch.save(torch.nn.Linear(2, 3), tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    with pytest.raises(UnreadableArtifactError, match=r"v1\.0\.0/model\.pt .* never unpickled"):
        try_all(metadata(**CHECKPOINT), {"model.pt": content}.__getitem__)


def test_truncated_checkpoint(checkpoint):
    """A checkpoint truncated at any length is rejected."""
    for kept in (0, 100, len(checkpoint) // 2, len(checkpoint) - 1):
        with pytest.raises(UnreadableArtifactError, match=r"v1\.0\.0/model\.pt .* truncated"):
            try_all(metadata(**CHECKPOINT), {"model.pt": checkpoint[:kept]}.__getitem__)


def test_checkpoint_of_other_type(checkpoint):
    """A checkpoint of another model type is rejected."""
    of = metadata(**{**CHECKPOINT, "model_type": "Perceptron"})
    with pytest.raises(UnknownArchitectureError, match="'Perceptron'; known: HybridCNNLSTM"):
        try_all(of, {"model.pt": checkpoint}.__getitem__)


def test_checkpoint_for_other_shape(checkpoint):
    """A network for another input shape is rejected on its warm-up batch."""
    of = metadata(**{**CHECKPOINT, "input_shape": (4, 3)})
    with pytest.raises(
        UnusableModelError, match=r"batch of 1: InputShapeError: .* 2 features\), received"
    ):
        try_all(of, {"model.pt": checkpoint}.__getitem__)


def test_network_without_declared_output(checkpoint):
    """A network without a declared output is rejected."""
    of = metadata(**CHECKPOINT, output_names={"direction_logits": "logits"})
    with pytest.raises(UnusableModelError, match="received NetworkOutput without logits"):
        try_all(of, {"model.pt": checkpoint}.__getitem__)


@pytest.mark.parametrize(
    ("of", "package", "extra"),
    [
        (metadata(), "onnxruntime", "server"),
        (metadata(**CHECKPOINT), "torch", "torch"),
    ],
)
def test_missing_library(monkeypatch, of, package, extra):
    """The error of a missing library contains the command that installs it."""
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(MissingPackageError) as caught:
        import_library(choose_artifact(of), of)
    assert f"without {package}; install it: pip install 'tradeserve[{extra}]'" in str(caught.value)


def test_import_loads_no_runtime():
    """Importing the registry imports neither torch nor ONNX Runtime nor Ray."""
    code = (
        "import sys, registry, registry.predictors; "
        "print(sorted({'torch', 'onnxruntime', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
