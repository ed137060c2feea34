"""Verification finds branches on values, and reports reads of values."""

import pytest
import torch
from torch import nn

from optimization.errors import ParityError
from optimization.export.exporter import export_onnx
from optimization.export.verification import value_reads

SHAPE = (12, 6)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "model.onnx"


class Plain(nn.Module):
    """Reads the size of the batch only."""

    def forward(self, windows):
        means = windows.mean(1)
        return means[:1] if windows.shape[0] == 1 else means


class Clipped(nn.Module):
    """Branches on the magnitude of its input."""

    def forward(self, windows):
        if windows.abs().max() > 100:
            windows = windows / 100
        return windows.mean(1)


class Guarded(nn.Module):
    """Reads values of its input and its weights, without effect on its outputs."""

    def __init__(self):
        super().__init__()
        self.is_on = nn.Parameter(torch.ones(1))

    def forward(self, windows):
        if self.is_on > 0 and windows.shape[0] < 100 and windows.isnan().any():
            raise ValueError("NaN")
        return windows.mean(1)


def test_branch_on_magnitude(target):
    """A branch on the magnitude of a feature is an error, and no file is written."""
    with pytest.raises(ParityError, match=r"noise of 1000 times .* use torch\.where"):
        export_onnx(Clipped(), target, SHAPE)
    assert not target.exists()


def test_value_reads(target, caplog):
    """Reads of input values are logged; reads of sizes and weights are not."""
    export_onnx(Guarded(), target, SHAPE)
    (record,) = caplog.records
    assert "reads values of its input at test_verification.py:" in record.getMessage()
    assert len(value_reads(Guarded(), torch.randn(2, *SHAPE))) == 1
    caplog.clear()
    export_onnx(Plain(), target, SHAPE)
    assert not caplog.records
