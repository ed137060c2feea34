"""A small recurrent network and what was made of it."""

import numpy as np
import pytest
import torch

from optimization.export.exporter import export_onnx
from registry.architectures import HybridCNNLSTM

SHAPE = (12, 6)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The FP32 file of a network with weights large enough to quantise."""
    torch.manual_seed(3)
    network = HybridCNNLSTM(input_size=6, lstm_hidden_size=48).eval()
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(network, path, SHAPE)
    return path


@pytest.fixture
def windows():
    return np.random.default_rng(5).standard_normal((90, *SHAPE), dtype=np.float32)
