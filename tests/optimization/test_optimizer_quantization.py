"""ONNXOptimizer.quantize_model: small files within the tolerance, or an error."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from optimization import ONNXOptimizer
from optimization.errors import InvalidInputError, ParityError, QuantizationError
from optimization.measurement.parity import Tolerance
from tests.optimization.contract import SHAPE


@pytest.mark.parametrize("how", ["dynamic", "rowwise", "static"])
async def test_quantize_model(optimizer, exported, tmp_path, windows, how):
    """Each type of quantisation writes a single file within the tolerance."""
    target = tmp_path / "int8.onnx"
    assert await optimizer.quantize_model(
        onnx_path=exported,
        output_path=target,
        quantization_type=how,
        calibration_data=windows,
        windows=windows,
        # Static quantisation of this network gains nothing, so it is requested.
        operators=["MatMul", "Conv"] if how == "static" else None,
        tolerance=Tolerance(direction_agreement=0.9, relative=0.5),
    )
    # Static quantisation excludes the LSTM, which is most of this network.
    assert how == "static" or target.stat().st_size < exported.stat().st_size / 2
    assert list(tmp_path.iterdir()) == [target]


async def test_quantize_beyond_tolerance(optimizer, exported, tmp_path, windows):
    """A file beyond the tolerance is not written, and the existing one is unchanged."""
    target = tmp_path / "int8.onnx"
    target.write_bytes(b"former")
    with pytest.raises(ParityError, match=r"single element differs by up to .* on 90 windows"):
        await optimizer.quantize_model(
            exported, target, windows=windows, tolerance=Tolerance(relative=1e-4, floor=0)
        )
    assert target.read_bytes() == b"former"


async def test_tolerance_of_the_optimizer(exported, tmp_path):
    """The optimiser's own tolerance is the default."""
    strict = ONNXOptimizer(tolerance=Tolerance(relative=1e-4, floor=0))
    with pytest.raises(ParityError):
        await strict.quantize_model(exported, tmp_path / "int8.onnx")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"quantization_type": "int4"}, "one of dynamic, rowwise, static, received 'int4'"),
        ({"quantization_type": "static"}, "calibration_data: expected windows"),
        ({"operators": ["GRU"]}, r"some of LSTM, MatMul, Gemm, Conv, received \['GRU'\]"),
        ({"operators": []}, "some of LSTM"),
        (
            {
                "quantization_type": "static",
                "calibration_data": np.eye(2, 72, dtype=np.float32).reshape(2, 12, 6),
            },
            "at least three windows, a third of which is held out",
        ),
        (
            {
                "quantization_type": "static",
                "calibration_data": np.zeros((90, 12, 6), dtype=np.float32),
            },
            "windows that differ, received the same window 90 times",
        ),
        ({"windows": np.zeros((0, 12, 6), dtype=np.float32)}, "at least one window"),
        ({"windows": np.zeros((4, 12, 7), dtype=np.float32)}, r"shape \(1, 12, 7\)"),
    ],
)
async def test_invalid_quantization_arguments(optimizer, exported, tmp_path, arguments, problem):
    """The error for an invalid argument states what was expected."""
    with pytest.raises(InvalidInputError, match=problem):
        await optimizer.quantize_model(exported, tmp_path / "int8.onnx", **arguments)


async def test_quantize_fixed_batch(optimizer, exported, tmp_path):
    """A file with a fixed batch size can be quantised."""
    model = onnx.load(exported)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    fixed = tmp_path / "fixed.onnx"
    onnx.save(model, fixed)
    loose = Tolerance(direction_agreement=0.9, relative=0.5)
    assert await optimizer.quantize_model(fixed, tmp_path / "q.onnx", tolerance=loose)


class Convolutions(nn.Module):
    """A convolution with few channels, which INT8 slows down to a third on long windows."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(6, 4, 3)

    def forward(self, windows):
        return self.layer(windows.transpose(1, 2)).mean(2)


async def test_quantize_without_gain(optimizer, tmp_path):
    """A slower file is an error with the measured ratio, unless `operators` requests it."""
    source, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
    await optimizer.export_to_onnx(Convolutions(), None, source, (1, 2000, 6))
    with pytest.raises(
        QuantizationError, match=r"only its convolutions .* make it 0\.\d\d times .* operators="
    ):
        await optimizer.quantize_model(source, target)
    assert not target.exists()
    assert await optimizer.quantize_model(source, target, operators=["Conv"])


class Prices(nn.Module):
    """Takes raw prices near 100."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(72, 128), nn.ReLU(), nn.Linear(128, 4))

    def forward(self, windows):
        return self.layers(windows.flatten(1))


async def test_static_evaluation_windows(optimizer, tmp_path):
    """Static quantisation is evaluated on held-out calibration data, not on noise around zero."""
    torch.manual_seed(1)
    source = tmp_path / "m.onnx"
    await optimizer.export_to_onnx(Prices(), None, source, SHAPE)
    prices = 50 + 5 * np.random.default_rng(2).standard_normal((96, 12, 6), dtype=np.float32)
    options = {"calibration_data": prices, "operators": ["MatMul"]}
    assert await optimizer.quantize_model(source, tmp_path / "q.onnx", "static", **options)
    with pytest.raises(ParityError, match=r"q2\.onnx was not written; try another"):
        await optimizer.quantize_model(
            source, tmp_path / "q2.onnx", "static", **options, windows=prices - 50
        )


class BatchMean(nn.Module):
    """Mixes the requests of the batch."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(72, 128), nn.Linear(128, 64))

    def forward(self, windows):
        return self.layers(windows - windows.mean(0, keepdim=True))


async def test_rowwise_needs_independent_rows(optimizer, tmp_path):
    """A network that mixes its batch cannot be quantised row by row."""
    source = tmp_path / "m.onnx"
    await optimizer.export_to_onnx(BatchMean(), None, source, SHAPE)
    with pytest.raises(QuantizationError, match="FP32 outputs depend on the rest of the batch"):
        await optimizer.quantize_model(source, tmp_path / "q.onnx", "rowwise")
