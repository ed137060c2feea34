"""Checkpoints: saving and restoring networks without executing anything."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from registry.architectures import (
    ARCHITECTURES,
    HybridCNNLSTM,
    build_network,
    load_checkpoint,
    save_checkpoint,
)
from registry.errors import (
    MissingArtifactError,
    UnknownArchitectureError,
    UnreadableArtifactError,
)

TYPE = "HybridCNNLSTM"


@pytest.fixture
def network():
    """A small network with weights and running statistics that are not the initial ones."""
    torch.manual_seed(3)
    network = HybridCNNLSTM(input_size=6, lstm_hidden_size=8, lstm_layers=1)
    network.train()(torch.randn(16, 12, 6))
    return network.eval()


@pytest.fixture
def checkpoint(network, tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint(network, path)
    return path


def edit(checkpoint, **changes):
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, **changes}, checkpoint)


def test_unknown_model_type():
    """The error of an unknown model type lists the known ones."""
    with pytest.raises(UnknownArchitectureError, match=r"'Perceptron'; known: HybridCNNLSTM"):
        build_network("Perceptron", {})


def test_unknown_type_is_not_saved(tmp_path):
    """A network of an unknown type is not saved."""
    with pytest.raises(UnknownArchitectureError):
        save_checkpoint(nn.Linear(1, 1), tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("as_bytes", [False, True])
def test_checkpoint_restores_network(network, checkpoint, as_bytes):
    """A checkpoint restores an identical network in eval mode, from a file or bytes."""
    loaded = load_checkpoint(checkpoint.read_bytes() if as_bytes else checkpoint, TYPE)
    assert isinstance(loaded, ARCHITECTURES[TYPE])
    assert not loaded.training
    assert loaded.constructor_args == network.constructor_args
    windows = torch.randn(4, 12, 6)
    for expected, actual in zip(network(windows), loaded(windows), strict=True):
        assert torch.equal(expected, actual)


class Intruder:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("bare", [False, True])
def test_pickle_is_not_run(tmp_path, bare):
    """A pickle is rejected, and the code in it does not run."""
    path, target = tmp_path / "model.pt", tmp_path / "was-executed"
    if bare:
        path.write_bytes(pickle.dumps(Intruder(target)))
    else:
        torch.save(
            {"model_type": TYPE, "constructor_args": {}, "state_dict": Intruder(target)}, path
        )
    with pytest.raises(UnreadableArtifactError):
        load_checkpoint(path, TYPE)
    assert not target.exists()


def test_pickled_module(network, tmp_path):
    """A pickled module is rejected, and the error names save_checkpoint."""
    path = tmp_path / "model.pt"
    torch.save(network, path)
    with pytest.raises(UnreadableArtifactError, match=r"never unpickled.*save_checkpoint"):
        load_checkpoint(path, TYPE)


def test_missing_file(tmp_path):
    """A missing file raises MissingArtifactError."""
    with pytest.raises(MissingArtifactError, match=r"model\.pt"):
        load_checkpoint(tmp_path / "model.pt", TYPE)


def test_truncated_file(checkpoint):
    """A file truncated at any length is rejected."""
    content = checkpoint.read_bytes()
    for kept in (0, 1, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(UnreadableArtifactError, match="truncated"):
            load_checkpoint(content[:kept], TYPE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "Perceptron"}, "contains a 'Perceptron', not a 'HybridCNNLSTM'"),
        ({"constructor_args": {"input_size": 7, "lstm_hidden_size": 8, "lstm_layers": 1}}, "size"),
        ({"constructor_args": {"colour": 1}}, "constructor_args do not match.*colour"),
        ({"constructor_args": {"input_size": -1}}, "input_size must be a positive integer"),
        ({"constructor_args": [1]}, "must both be dicts"),
        ({"state_dict": {}}, "Missing key"),
        ({"state_dict": {"lstm.weight_ih_l0": "x"}}, "Missing key"),
    ],
)
def test_mismatched_content(checkpoint, changes, reason):
    """Content that does not match the model type is rejected with the reason."""
    edit(checkpoint, **changes)
    with pytest.raises(UnreadableArtifactError, match=reason):
        load_checkpoint(checkpoint, TYPE)


def test_checkpoint_is_not_a_dict(checkpoint):
    """A checkpoint that does not contain a dict is rejected."""
    torch.save([1, 2], checkpoint)
    with pytest.raises(UnreadableArtifactError, match="contains a list, not a dict"):
        load_checkpoint(checkpoint, TYPE)


PARAMS = {"input_size": 3, "lstm_hidden_size": 4, "lstm_layers": 1, "dropout": 0.3, "epochs": 50}


def state_dict(path, **arguments):
    """Write the weights of a network alone, and return it with the path."""
    network = HybridCNNLSTM(**arguments).eval()
    torch.save(network.state_dict(), path)
    return network


def test_state_dict_with_its_arguments_in_training_params(tmp_path):
    """A state dict is loaded with the constructor's arguments among the training parameters."""
    arguments = {name: value for name, value in PARAMS.items() if name != "epochs"}
    network = state_dict(tmp_path / "model.pt", **arguments)
    loaded = load_checkpoint(tmp_path / "model.pt", TYPE, PARAMS)
    assert not loaded.training
    window = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded(window).direction_logits, network(window).direction_logits)


@pytest.mark.parametrize("params", [{}, {**PARAMS, "lstm_hidden_size": 8}, {"epochs": 50}])
def test_state_dict_without_its_arguments(tmp_path, params):
    """Training parameters that do not describe the weights are an error that names them."""
    state_dict(tmp_path / "model.pt", input_size=3, lstm_hidden_size=4, lstm_layers=1)
    with pytest.raises(UnreadableArtifactError, match=r"training_params.*does not match") as error:
        load_checkpoint(tmp_path / "model.pt", TYPE, params)
    assert "lstm_hidden_size=8" in str(error.value) or "none given" in str(error.value)
