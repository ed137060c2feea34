"""A registered version of every architecture: from its checkpoint to the served artifact."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from optimization.measurement.parity import Tolerance, compare_outputs
from optimization.measurement.windows import noise
from optimization.networks import run_network
from optimization.registered_versions import (
    evaluation_of,
    other_machine,
    publish,
    read_source,
    search_source,
)
from optimization.runtime import OnnxModel
from optimization.search.pareto import Goal
from optimization.search.search import SearchSettings
from registry import ModelRegistry
from registry.architectures import build_network, save_checkpoint
from registry.predictors import choose_artifact, load_predictor
from registry.reference_outputs import dump_recorded

pytestmark = pytest.mark.slow

SHAPE = (12, 6)
NETWORKS = {
    "HybridCNNLSTM": {"input_size": 6, "lstm_hidden_size": 48},
    "TemporalConvNet": {"input_size": 6, "channels": 64, "blocks": 2},
    "OrderBookTransformer": {"input_size": 6, "model_size": 64, "max_timesteps": 12},
}
SETTINGS = SearchSettings(
    budget_s=60,
    batches=(1,),
    threads=(),
    runs=10,
    tolerance=Tolerance(direction_agreement=0.9, relative=0.5),
)


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "models")


@pytest.fixture
def register(registry, tmp_path):
    async def run(model_type, windows=None):
        torch.manual_seed(1)
        network = build_network(model_type, NETWORKS[model_type]).eval()
        path, artifacts = tmp_path / "model.pt", {}
        save_checkpoint(network, path)
        if windows is not None:
            artifacts["windows.npz"] = tmp_path / "windows.npz"
            np.savez_compressed(artifacts["windows.npz"], windows=windows)
        await registry.register_model(
            "m", "1.0.0", path, model_type, input_shape=SHAPE, artifacts=artifacts
        )
        return network

    return run


@pytest.mark.parametrize("model_type", NETWORKS)
async def test_published_artifact(registry, register, model_type):
    """The published artifact has the outputs of the checkpoint on windows not used before."""
    network = await register(model_type, windows=noise(SHAPE, 320))
    source = await read_source(registry, "m", "1.0.0")
    evaluation = evaluation_of(source)
    assert evaluation.is_real
    found = search_source(source, evaluation, SETTINGS)
    info = await publish(registry, source, found)
    artifact = choose_artifact(info.metadata)
    assert artifact == info.metadata.optimization["recommended"]["artifact"]
    content = await registry.read_artifact("m", "1.0.0", artifact)
    predictor = load_predictor(content, info.metadata, num_threads=1)
    hidden = np.random.default_rng(9).standard_normal((16, *SHAPE), dtype=np.float32)
    parity = compare_outputs(run_network(network, hidden), predictor(hidden))
    assert parity.max_relative_difference < 0.8
    assert await registry.verify() == []


RANDOM = np.random.default_rng(8)
FIRST, SECOND = RANDOM.normal(size=(72, 128)) / 8, RANDOM.normal(size=(128, 3)) / 4
DENSE = [
    helper.make_node("MatMul", ["flat", "first"], ["h"]),
    helper.make_node("Relu", ["h"], ["r"]),
    helper.make_node("MatMul", ["r", "second"], ["direction_logits"]),
]
FLAT = helper.make_node("Flatten", ["all"], ["flat"])
KINDS = {
    "double": (
        np.float64,
        {"x": [12, 6]},
        [helper.make_node("Sub", ["x", "level"], ["all"]), FLAT],
        {"level": 1e6},
        1e6 + RANDOM.normal(size=(330, *SHAPE)),
    ),
    "two inputs": (
        np.float32,
        {"prices": [12, 4], "volumes": [12, 2]},
        [helper.make_node("Concat", ["prices", "volumes"], ["all"], axis=2), FLAT],
        {},
        RANDOM.normal(size=(330, *SHAPE)),
    ),
    "two inputs of other shapes": (
        np.float32,
        {"window": [12, 5], "position": [12]},
        [
            helper.make_node("Flatten", ["window"], ["rows"]),
            helper.make_node("Concat", ["rows", "position"], ["flat"], axis=1),
        ],
        {},
        RANDOM.normal(size=(330, *SHAPE)),
    ),
    "missing values": (
        np.float32,
        {"x": [12, 6]},
        [
            helper.make_node("IsNaN", ["x"], ["is_missing"]),
            helper.make_node("Where", ["is_missing", "level", "x"], ["all"]),
            FLAT,
        ],
        {"level": 0.5},
        np.where(RANDOM.random((330, *SHAPE)) < 0.1, np.nan, RANDOM.normal(size=(330, *SHAPE))),
    ),
}
"""The type, the inputs, the nodes in front of the layers and their weights, and the windows."""


def dense_model(dtype, inputs, front, weights):
    """Return the content of a network of two layers behind other nodes."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = {"first": FIRST, "second": SECOND, **weights}
    graph = helper.make_graph(
        [*front, *DENSE],
        "dense",
        [
            helper.make_tensor_value_info(name, kind, ["batch", *shape])
            for name, shape in inputs.items()
        ],
        [helper.make_tensor_value_info("direction_logits", kind, ["batch", 3])],
        [numpy_helper.from_array(np.asarray(value, dtype), name) for name, value in values.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@pytest.mark.parametrize("kind", KINDS)
async def test_other_models(registry, tmp_path, kind):
    """Models of doubles, of several inputs and of missing values are quantised and served."""
    dtype, inputs, front, weights, numbers = KINDS[kind]
    content, windows = dense_model(dtype, inputs, front, weights), numbers.astype(dtype)
    model, own = tmp_path / "model.onnx", tmp_path / "windows.npz"
    model.write_bytes(content)
    own.write_bytes(dump_recorded(windows, OnnxModel(content)(windows)))
    await registry.register_model(
        "m",
        "1.0.0",
        model,
        "Dense",
        input_shape=SHAPE,
        output_names={"direction_logits": "direction_logits"},
        dataset_info={"missing_values": kind == "missing values"},
        artifacts={"windows.npz": own},
    )
    source = await read_source(registry, "m", "1.0.0")
    assert source.windows.dtype == dtype
    found = search_source(source, evaluation_of(source), replace(SETTINGS, goal=Goal.SIZE))
    refused = {name: variant.refused for name, variant in found.evaluated.items()}
    for how in ("dynamic", "rowwise", "static"):
        assert refused.get(f"int8-{how}-matmul", "missing") is None, (refused, found.skipped)
    assert found.chosen.variant.name.startswith("int8-")
    info = await publish(registry, source, found)
    served = choose_artifact(info.metadata)
    assert served != "model.onnx"
    predictor = load_predictor(
        await registry.read_artifact("m", "1.0.0", served), info.metadata, num_threads=1
    )
    (expected,) = OnnxModel(content)(windows[-16:]).values()
    received = predictor(windows[-16:])["direction_logits"]
    assert received.dtype == dtype
    assert np.abs(received - expected).max() < 0.1 * np.abs(expected).max()


async def test_published_evidence(registry, register):
    """The metadata holds the evidence, and an artifact holds it with the raw samples."""
    await register("HybridCNNLSTM", windows=noise(SHAPE, 320))
    source = await read_source(registry, "m", "1.0.0")
    info = await publish(registry, source, search_source(source, evaluation_of(source), SETTINGS))
    evidence = info.metadata.optimization
    samples = json.loads(await registry.read_artifact("m", "1.0.0", evidence["samples_artifact"]))
    assert {**samples, "samples": None} == {**evidence, "samples": None}
    assert all(sample["samples_ms"] for sample in samples["samples"])
    listed = {variant["artifact"] for variant in evidence["variants"]} - {None}
    assert listed <= set(info.metadata.artifacts)
    assert {evidence["source_artifact"], "model.pt"} <= set(info.metadata.artifacts)
    again = await read_source(registry, "m", "1.0.0")
    assert other_machine(again) == []


async def test_repeated_publication(registry, register):
    """A second optimisation adds to the published artifacts and changes none."""
    await register("HybridCNNLSTM", windows=noise(SHAPE, 320))
    first, second = [], []
    for seen in (first, second):
        source = await read_source(registry, "m", "1.0.0")
        found = search_source(source, evaluation_of(source), SETTINGS)
        seen.append((await publish(registry, source, found)).metadata.artifacts)
    assert first[0].items() <= second[0].items()
    assert await registry.verify() == []


async def test_evaluation_on_noise(registry, register):
    """Without windows, noise is used and no quantised file is recommended."""
    await register("HybridCNNLSTM")
    source = await read_source(registry, "m", "1.0.0")
    evaluation = evaluation_of(source)
    assert not evaluation.is_real
    found = search_source(source, evaluation, SETTINGS)
    assert not found.chosen.variant.is_quantized
    assert evaluation_of(source, noise(SHAPE, 9), "given").is_real
