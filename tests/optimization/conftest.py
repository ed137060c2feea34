"""A small recurrent network, its files and windows for it."""

import numpy as np
import pytest
import torch

from optimization import get_onnx_optimizer
from optimization.export.exporter import export_onnx
from registry.architectures import save_checkpoint
from tests.optimization.contract import new_network

SHAPE = (12, 6)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Return the FP32 file of a network with weights large enough to quantise."""
    torch.manual_seed(3)
    network = new_network().eval()
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(network, path, SHAPE)
    return path


@pytest.fixture
def windows():
    return np.random.default_rng(5).standard_normal((90, *SHAPE), dtype=np.float32)


@pytest.fixture
def optimizer():
    return get_onnx_optimizer()


@pytest.fixture
def trained(tmp_path):
    """A file of weights and the network with these weights."""
    torch.manual_seed(3)
    network = new_network().eval()
    path = tmp_path / "model.pt"
    save_checkpoint(network, path)
    return path, network
