"""Weights from a file: all or none."""

import pytest
import torch
from torch import nn

from optimization.errors import WeightsError
from optimization.export.weights import load_weights
from registry.architectures import HybridCNNLSTM, save_checkpoint


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict"])
def test_state_dict_keys(tmp_path, network, key):
    """A state dict is read from the usual places in a file."""
    path = tmp_path / "weights.pt"
    trained = nn.Linear(3, 2)
    state = trained.state_dict()
    torch.save(state if key is None else {key: state, "epoch": 3}, path)
    load_weights(network, path)
    assert torch.equal(network.weight, trained.weight)


def test_checkpoint(tmp_path):
    """A checkpoint of the registry's architectures is read."""
    trained, path = HybridCNNLSTM(6, 8), tmp_path / "model.pt"
    save_checkpoint(trained, path)
    network = HybridCNNLSTM(6, 8)
    load_weights(network, path)
    assert torch.equal(network.attention.weight, trained.attention.weight)


class Runs:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"weight": torch.zeros(2, 3)}, "it lacks bias"),
        ({**nn.Linear(3, 2).state_dict(), "extra": torch.zeros(1)}, "it has extra"),
        (nn.Linear(4, 2).state_dict(), r"weight is \(2, 4\), the network's is \(2, 3\)"),
        (torch.zeros(3), "no state dict"),
        ({"state_dict": Runs()}, "more than tensors"),
    ],
    ids=["too few", "too many", "another shape", "a tensor", "code"],
)
def test_weights_of_another_network(tmp_path, network, content, problem):
    """Weights that do not fit are an error, and the network is unchanged."""
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    before = network.weight.clone()
    with pytest.raises(WeightsError, match=problem):
        load_weights(network, path)
    assert torch.equal(network.weight, before)


def test_unreadable_file(tmp_path, network):
    """A missing file, a truncated one and a folder are errors."""
    with pytest.raises(WeightsError, match="there is no such file"):
        load_weights(network, tmp_path / "absent.pt")
    path = tmp_path / "weights.pt"
    torch.save(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(network, path)
    with pytest.raises(WeightsError, match="directory"):
        load_weights(network, tmp_path)
