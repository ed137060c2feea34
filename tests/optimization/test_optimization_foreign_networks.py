"""Networks unlike ours: their files have the same outputs on windows not used before."""

import asyncio

import numpy as np
import pytest
import torch

from optimization import ONNXOptimizer
from optimization.errors import OptimizationError, UnsupportedOperatorError
from optimization.export.exporter import export_onnx
from optimization.measurement.parity import Tolerance, compare_outputs, run_all
from optimization.measurement.windows import split_windows
from optimization.networks import run_network
from optimization.runtime import OnnxModel
from optimization.search.search import SearchSettings, search
from tests.optimization.networks import FOREIGN, SHAPE, WithSpectrum

pytestmark = pytest.mark.slow

NAMES = {
    "weight norm, dict": ["direction_logits", "states"],
    "transformer encoder, tuple": ["direction_logits", "confidence", "expected_return"],
    "dataclass, nested": ["scores", "hidden_0", "hidden_1"],
}


def windows(count, seed):
    return np.random.default_rng(seed).standard_normal((count, *SHAPE), dtype=np.float32)


@pytest.fixture(params=FOREIGN)
def named(request):
    torch.manual_seed(1)
    return request.param, FOREIGN[request.param]().eval()


def test_exported_outputs(named, tmp_path):
    """The file has the outputs of the network."""
    name, network = named
    path = tmp_path / "model.onnx"
    export_onnx(network, path, SHAPE)
    exported = OnnxModel(path)
    assert exported.output_names == NAMES.get(name, ["output"])
    hidden = windows(9, seed=7) * 3
    parity = compare_outputs(run_network(network, hidden), exported(hidden))
    assert parity.max_relative_difference < 1e-3


def test_recommended_outputs(named, tmp_path):
    """The recommended file is within the tolerance on windows not used in the search.

    Random weights leave the classes close together, so the elements are compared here.
    """
    _, network = named
    path = tmp_path / "model.onnx"
    export_onnx(network, path, SHAPE)
    content = path.read_bytes()
    settings = SearchSettings(
        budget_s=30, runs=5, batches=(1,), threads=(), tolerance=Tolerance(direction_agreement=0.9)
    )
    found = search(content, path, split_windows(windows(320, seed=3), "test"), settings)
    hidden = windows(40, seed=11)
    parity = compare_outputs(
        run_network(network, hidden), run_all(OnnxModel(found.chosen.content), hidden, 1)
    )
    assert found.chosen.refused is None
    assert not found.chosen.batch_dependence.depends
    assert parity.max_relative_difference < 2 * settings.tolerance.relative


@pytest.mark.parametrize("how", ["dynamic", "rowwise", "static"])
def test_quantized_outputs(named, tmp_path, how):
    """A quantised file is near its original, or there is no file."""
    _, network = named
    source, target = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    export_onnx(network, source, SHAPE)
    quantize = ONNXOptimizer().quantize_model(
        source, target, how, calibration_data=windows(64, seed=5)
    )
    try:
        asyncio.run(quantize)
    except OptimizationError:
        assert not target.exists()
        return
    hidden = windows(40, seed=11)
    parity = compare_outputs(
        run_all(OnnxModel(source), hidden, 1), run_all(OnnxModel(target), hidden, 1)
    )
    assert parity.max_relative_difference < 0.6


def test_unsupported_operator(tmp_path):
    """The error for an unsupported operator names the module that uses it."""
    with pytest.raises(
        UnsupportedOperatorError,
        match=r"set 17 has no operator for aten::fft_rfft, used by features\.1 \(Spectrum\)",
    ) as caught:
        export_onnx(WithSpectrum(), tmp_path / "model.onnx", SHAPE, opset_version=17)
    assert caught.value.modules == ("features.1 (Spectrum)",)
    assert not list(tmp_path.iterdir())
