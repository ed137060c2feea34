"""From artifacts to outputs, and the artifacts that are refused."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from registry.architectures import HybridCNNLSTM, save_checkpoint
from registry.errors import (
    InvalidMetadataError,
    MissingArtifactError,
    MissingPackageError,
    UnknownArchitectureError,
    UnreadableArtifactError,
    UnusableModelError,
)
from registry.predictors import choose_artifact, load_predictor, try_out
from testkit.models import linear_onnx, metadata

LOGITS_ONLY = {"direction_logits": "direction_logits"}
CHECKPOINT = {
    "model_type": "HybridCNNLSTM",
    "artifacts": {"model.pt": "0"},
    "input_shape": (4, 2),
}


def onnx_model(nodes, input_shape, outputs, input_type=TensorProto.FLOAT):
    """Return an ONNX model from `features` to `outputs` (shape by name), float all."""
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
    """Return a model of rows of three numbers that gives them as its direction_logits."""
    cast = helper.make_node("Cast", ["features"], ["direction_logits"], to=TensorProto.FLOAT)
    return onnx_model([cast], input_shape, {"direction_logits": output_shape}, input_type)


def identity_metadata(**fields):
    return metadata(**{"input_shape": (1, 3), "output_names": LOGITS_ONLY, **fields})


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    network = HybridCNNLSTM(input_size=2, lstm_hidden_size=4, lstm_layers=1)
    save_checkpoint(network, tmp_path / "model.pt")
    return (tmp_path / "model.pt").read_bytes()


def test_an_onnx_model_answers_any_batch():
    predictor = load_predictor(linear_onnx(), metadata(), num_threads=1)
    windows = np.arange(5 * 6, dtype=np.float32).reshape(5, 3, 2)
    values = predictor(windows)
    np.testing.assert_allclose(values["direction_logits"], windows.reshape(5, 6)[:, :3])
    np.testing.assert_allclose(values["expected_return"], windows.reshape(5, 6)[:, 1:2])


def test_outputs_are_found_by_the_names_in_the_metadata():
    swapped = {"direction_logits": "direction_logits", "expected_return": "confidence"}
    predictor = load_predictor(linear_onnx(), metadata(output_names=swapped), num_threads=1)
    values = predictor(np.full((1, 3, 2), -1e9, dtype=np.float32))
    assert values.keys() == swapped.keys()
    assert values["expected_return"].tolist() == [[0.0]]


def test_a_model_of_flat_rows_gets_each_window_in_row_order():
    of = identity_metadata(input_shape=(3, 1))
    predictor = load_predictor(identity_onnx(["batch", 3]), of, num_threads=1)
    windows = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    assert predictor(windows)["direction_logits"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_model_of_doubles_gets_doubles_and_its_outputs_come_as_float32():
    content = identity_onnx(["batch", 3], input_type=TensorProto.DOUBLE)
    predictor = load_predictor(content, identity_metadata(), num_threads=1)
    values = predictor(np.array([[[1, 2, 3]]], dtype=np.float32))["direction_logits"]
    assert (values.tolist(), values.dtype) == ([[1, 2, 3]], np.float32)


def test_a_single_valued_output_without_its_second_axis_will_do():
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


def test_onnx_serves_when_the_version_has_it_and_the_checkpoint_otherwise():
    both = {"model.pt": "0", "model.onnx": "0"}
    assert choose_artifact(metadata(artifacts=both)) == "model.onnx"
    assert choose_artifact(metadata(artifacts={"model.pt": "0"})) == "model.pt"
    with pytest.raises(MissingArtifactError, match=r"model\.onnx or model\.pt"):
        choose_artifact(metadata(artifacts={"notes.txt": "0", "model_quantized.onnx": "0"}))


@pytest.mark.parametrize("content", [b"", b"not onnx", linear_onnx()[:100], linear_onnx()[:-1]])
def test_a_file_that_is_no_model_is_named(content):
    with pytest.raises(UnreadableArtifactError, match=r"toy/v1\.0\.0/model\.onnx as an ONNX model"):
        load_predictor(content, metadata(), num_threads=1)


def test_a_model_without_the_promised_outputs_is_refused():
    names = {"direction_logits": "logits", "confidence": "confidence", "expected_return": "r"}
    with pytest.raises(
        UnreadableArtifactError, match="it has direction_logits, confidence, expected_return"
    ):
        load_predictor(linear_onnx(), metadata(output_names=names), num_threads=1)


def test_output_names_that_make_no_prediction_are_refused():
    of = metadata().model_copy(update={"output_names": {"confidence": "confidence"}})
    with pytest.raises(InvalidMetadataError, match="output_names: expected exactly one"):
        load_predictor(linear_onnx(), of, num_threads=1)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (linear_onnx(), r"shape \(batch, 3, 4\) or \(batch, 12\): it takes features"),
        (identity_onnx(["batch", 3]), r"it takes features tensor\(float\) \['batch', 3\]"),
        (identity_onnx([3]), r"it takes features tensor\(float\) \[3\]"),
        (identity_onnx(["b", 12], input_type=TensorProto.INT64), r"it takes features tensor\(int"),
    ],
)
def test_a_model_for_another_input_is_refused(content, problem):
    of = metadata(input_shape=(3, 4), output_names=LOGITS_ONLY)
    with pytest.raises(UnreadableArtifactError, match=problem):
        load_predictor(content, of, num_threads=1)


def test_a_model_of_two_inputs_is_refused():
    model = onnx.load_from_string(linear_onnx())
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch"]))
    with pytest.raises(UnreadableArtifactError, match=r"one input .* it takes features .*, mask"):
        load_predictor(model.SerializeToString(), metadata(), num_threads=1)


def test_weights_outside_the_file_are_refused_even_where_they_lie(tmp_path, monkeypatch):
    """Their content has no checksum; the working directory is where they would be sought."""
    model = onnx.load_from_string(linear_onnx())
    onnx.save_model(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    monkeypatch.chdir(tmp_path)
    assert (tmp_path / "w").stat().st_size > 0
    with pytest.raises(UnreadableArtifactError, match="all its weights in the one file"):
        load_predictor((tmp_path / "m.onnx").read_bytes(), metadata(), num_threads=1)


def test_a_model_that_answers_nan_is_refused_before_it_serves():
    with pytest.raises(UnusableModelError, match="on a warm-up batch of 1, an output is NaN"):
        load_predictor(linear_onnx(weight=float("nan")), metadata(), num_threads=1)


def test_logits_declared_as_probabilities_are_refused():
    of = metadata(output_names={"direction_probabilities": "direction_logits"})
    with pytest.raises(UnusableModelError, match="direction_probabilities are not between 0 and 1"):
        load_predictor(linear_onnx(), of, num_threads=1)


def test_an_output_of_another_width_is_refused():
    of = metadata(output_names={"direction_logits": "confidence"})
    with pytest.raises(
        UnusableModelError,
        match=r"model\.onnx .* direction_logits of shape \(1, 3\), received \(1, 1\)",
    ):
        load_predictor(linear_onnx(), of, num_threads=1)


def test_a_model_that_takes_one_window_only_is_refused():
    """A replica runs requests that are there together as one batch."""
    content = identity_onnx([1, 3], output_shape=[1, 3])
    with pytest.raises(UnusableModelError, match="it does not run on a batch of 2"):
        load_predictor(content, identity_metadata(), num_threads=1)


def test_a_checkpoint_is_loaded_and_run(checkpoint):
    try_out(metadata(**CHECKPOINT), {"model.pt": checkpoint}.__getitem__)


def test_trying_a_version_out_leaves_the_threads_of_its_process_alone(checkpoint):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        try_out(metadata(**CHECKPOINT), {"model.pt": checkpoint}.__getitem__)
        assert torch.get_num_threads() == 2
        load_predictor(checkpoint, metadata(**CHECKPOINT), num_threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("broken", ["model.onnx", "model.pt", "model_quantized.onnx"])
def test_every_artifact_that_could_serve_is_tried_not_only_the_chosen_one(checkpoint, broken):
    good = linear_onnx(shape=(4, 2))
    contents = {"model.pt": checkpoint, "model.onnx": good, "model_quantized.onnx": good}
    of = metadata(**{**CHECKPOINT, "artifacts": {**dict.fromkeys(contents, "0"), "notes.txt": "0"}})
    try_out(of, contents.__getitem__)
    with pytest.raises(UnreadableArtifactError, match=f"toy/v1.0.0/{broken}"):
        try_out(of, {**contents, broken: b"damaged"}.__getitem__)


def test_a_version_with_nothing_to_serve_is_refused():
    with pytest.raises(MissingArtifactError, match=r"model\.onnx or model\.pt"):
        try_out(metadata(artifacts={"notes.txt": "0"}), {}.__getitem__)


def test_an_error_of_reading_is_passed_on():
    def read(artifact):
        raise MissingArtifactError(artifact, "the file")

    with pytest.raises(MissingArtifactError, match=r"no file at model\.onnx"):
        try_out(metadata(), read)


def test_a_pickled_module_is_refused_unopened(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    with pytest.raises(UnreadableArtifactError, match=r"v1\.0\.0/model\.pt .* never unpickled"):
        try_out(metadata(**CHECKPOINT), {"model.pt": content}.__getitem__)


def test_a_truncated_checkpoint_is_refused(checkpoint):
    for kept in (0, 100, len(checkpoint) // 2, len(checkpoint) - 1):
        with pytest.raises(UnreadableArtifactError, match=r"v1\.0\.0/model\.pt .* truncated"):
            try_out(metadata(**CHECKPOINT), {"model.pt": checkpoint[:kept]}.__getitem__)


def test_a_checkpoint_of_another_model_type_is_refused(checkpoint):
    of = metadata(**{**CHECKPOINT, "model_type": "Perceptron"})
    with pytest.raises(UnknownArchitectureError, match="'Perceptron'; known: HybridCNNLSTM"):
        try_out(of, {"model.pt": checkpoint}.__getitem__)


def test_a_checkpoint_for_another_input_shape_is_refused(checkpoint):
    of = metadata(**{**CHECKPOINT, "input_shape": (4, 3)})
    with pytest.raises(
        UnusableModelError, match=r"batch of 1: InputShapeError: .* 2 features\), received"
    ):
        try_out(of, {"model.pt": checkpoint}.__getitem__)


def test_a_network_without_the_promised_outputs_is_refused(checkpoint):
    of = metadata(**CHECKPOINT, output_names={"direction_logits": "logits"})
    with pytest.raises(UnusableModelError, match="received NetworkOutput without logits"):
        try_out(of, {"model.pt": checkpoint}.__getitem__)


@pytest.mark.parametrize(
    ("of", "package", "extra"),
    [
        (metadata(), "onnxruntime", "server"),
        (metadata(**CHECKPOINT), "torch", "torch"),
    ],
)
def test_a_missing_library_is_named_with_what_installs_it(monkeypatch, of, package, extra):
    monkeypatch.setitem(sys.modules, package, None)  # what Python takes for not installed
    with pytest.raises(MissingPackageError) as caught:
        try_out(of, lambda _: b"")
    assert f"without {package}; install it: pip install 'tradeserve[{extra}]'" in str(caught.value)


def test_the_registry_imports_neither_torch_nor_onnxruntime_until_it_runs_a_model():
    code = (
        "import sys, registry, registry.predictors; "
        "print(sorted({'torch', 'onnxruntime', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
