"""Formulas: functions that the exporter does not support are exported correctly."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from optimization.errors import UnsupportedOperatorError
from optimization.export.exporter import export_onnx
from optimization.export.formulas import Formulas
from optimization.measurement.parity import compare_outputs
from optimization.networks import run_network
from optimization.runtime import OnnxModel

SHAPE = (30, 20)


class Called(nn.Module):
    """Returns a function's result for the windows, and holds the module that it uses."""

    def __init__(self, function, used=None):
        super().__init__()
        self.function, self.used = function, used

    def forward(self, windows):
        return self.function(windows) if self.used is None else self.function(windows, self.used)


def channels_first(windows, layer):
    return layer(windows.transpose(1, 2))


NETWORKS = {
    "RMSNorm": lambda: nn.RMSNorm(20),
    "RMSNorm of two dimensions": lambda: nn.RMSNorm((30, 20), eps=1e-3, elementwise_affine=False),
    "rms_norm of torch": lambda: Called(lambda windows: torch.rms_norm(windows, (20,))),
    "log sigmoid": nn.LogSigmoid,
    "differences": lambda: Called(lambda windows: windows.diff(dim=1)),
    "second differences": lambda: Called(
        lambda windows: torch.diff(windows, 2, 1, prepend=windows[:, :1])
    ),
    "expm1": lambda: Called(lambda windows: torch.expm1(windows.tanh()) + windows.tanh().expm1()),
    "dilated convolution": lambda: Called(
        channels_first, nn.Conv1d(20, 8, 4, padding="same", dilation=2)
    ),
    "dilated convolution of an image": lambda: Called(
        lambda windows, layer: layer(windows[:, None]),
        nn.Conv2d(1, 4, (3, 2), padding="same", dilation=(1, 2)),
    ),
    "average of uneven parts": lambda: Called(channels_first, nn.AdaptiveAvgPool1d(7)),
    "average of even parts": lambda: Called(channels_first, nn.AdaptiveAvgPool1d(5)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_exported_formulas(name, tmp_path):
    """A file with a formula has the outputs of the network."""
    torch.manual_seed(2)
    network, path = NETWORKS[name]().eval(), tmp_path / "model.onnx"
    export_onnx(network, path, SHAPE)
    hidden = 3 * np.random.default_rng(4).standard_normal((5, *SHAPE), dtype=np.float32)
    parity = compare_outputs(run_network(network, hidden), OnnxModel(path)(hidden))
    assert parity.max_relative_difference < 1e-4


def test_other_functions():
    """Functions without a formula are unchanged."""
    windows = torch.randn(2, 3)
    with Formulas():
        assert torch.equal(torch.relu(windows), windows.clamp(min=0))
        assert torch.equal(functional.conv1d(windows, torch.ones(1, 2, 1)), windows.sum(0)[None])


@pytest.mark.parametrize(
    ("network", "operator", "used"),
    [
        (
            Called(
                lambda windows, layer: layer(windows)[0],
                nn.LSTM(20, 8, batch_first=True, proj_size=4),
            ),
            r"aten::lstm \(LSTMs with projections\)",
            r"used \(LSTM\)",
        ),
        (
            Called(channels_first, nn.Sequential(nn.AdaptiveMaxPool1d(7))),
            r"aten::adaptive_max_pool1d \(output size that are not factor of input size\)",
            r"used\.0 \(AdaptiveMaxPool1d\)",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
def test_partly_supported_operator(network, operator, used, tmp_path, capfd):
    """The error for an unsupported variant of an operator names the module; nothing is printed."""
    with pytest.raises(
        UnsupportedOperatorError, match=f"no operator for {operator}, used by {used}; write that"
    ):
        export_onnx(network, tmp_path / "model.onnx", SHAPE)
    assert capfd.readouterr() == ("", "")
