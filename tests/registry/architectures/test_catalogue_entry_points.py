"""Networks that another installed distribution provides by entry point."""

import itertools
import sys

import pytest
import torch

from registry.architectures import build_network, find_architecture, load_checkpoint
from registry.architectures.catalogue import ENTRY_POINT_GROUP
from registry.architectures.checkpoint import save_checkpoint
from registry.errors import (
    AmbiguousArchitectureError,
    BrokenArchitectureError,
    UnknownArchitectureError,
    UnreadableArtifactError,
    UnusableModelError,
)
from registry.predictors import load_predictor, try_artifact
from testkit.distributions import write_distribution
from testkit.models import metadata

NETWORKS = '''
from typing import NamedTuple
import torch
from torch import nn

class Output(NamedTuple):
    logits: torch.Tensor
    certainty: torch.Tensor

class TinyNet(nn.Module):
    """One layer, two outputs."""

    def __init__(self, size, outputs=3):
        super().__init__()
        if size > 1000:
            raise LookupError(f"no room for {size}")
        self.constructor_args = {"size": size, "outputs": outputs}
        self.layer = nn.Linear(size, outputs)

    def forward(self, windows):
        logits = self.layer(windows.flatten(1))
        return Output(logits, logits.softmax(1).amax(1))

class Forgetful(nn.Module):
    pass

def not_a_class():
    pass
'''
NAMES = {"direction_logits": "logits", "confidence": "certainty"}
VERSION = {"model_type": "TinyNet", "artifacts": {"model.pt": "0"}, "output_names": NAMES}
numbers = itertools.count()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution with entry points and returns its module."""

    def run(distribution, source, **networks):
        module = f"acme_networks_{next(numbers)}"
        site = tmp_path / distribution
        write_distribution(site, distribution, module, source, group=ENTRY_POINT_GROUP, **networks)
        monkeypatch.syspath_prepend(site)
        installed.append(module)
        return module

    installed = []
    yield run
    for module in installed:
        sys.modules.pop(module, None)


@pytest.fixture
def tiny_net(install):
    install("acme", NETWORKS, TinyNet="TinyNet")
    return find_architecture("TinyNet")


def checkpoint_of(network, tmp_path, model_type=None):
    path = tmp_path / "model.pt"
    save_checkpoint(network, path, model_type)
    return path.read_bytes()


def test_custom_network_runs(tiny_net, tmp_path):
    """A custom network is saved, loaded and run, with the same outputs."""
    torch.manual_seed(0)
    network = tiny_net(6)
    content = checkpoint_of(network, tmp_path)
    try_artifact("model.pt", content, metadata(**VERSION))
    windows = torch.randn(5, 3, 2)
    outputs = load_predictor(content, metadata(**VERSION), num_threads=1)(windows.numpy())
    assert outputs.keys() == NAMES.keys()
    expected = network(windows)
    torch.testing.assert_close(torch.tensor(outputs["direction_logits"]), expected.logits)
    torch.testing.assert_close(torch.tensor(outputs["confidence"][:, 0]), expected.certainty)


def test_model_type_differs_from_class(install, tmp_path):
    """The model type may differ from the name of the class."""
    install("acme", NETWORKS, acme_tiny="TinyNet")
    network = build_network("acme_tiny", {"size": 6})
    content = checkpoint_of(network, tmp_path, "acme_tiny")
    assert type(load_checkpoint(content, "acme_tiny")) is type(network)


def test_unknown_model_type(tiny_net):
    """The error of an unknown model type lists the known ones and how to add another."""
    with pytest.raises(
        UnknownArchitectureError,
        match=r"known: HybridCNNLSTM, .*, TinyNet; install .* group tradeserve\.architectures",
    ):
        find_architecture("Perceptron")


def test_built_in_network_is_not_replaced(install):
    """An entry point with the name of a built-in network is ambiguous."""
    module = install("acme", NETWORKS, HybridCNNLSTM="TinyNet")
    with pytest.raises(AmbiguousArchitectureError) as caught:
        find_architecture("HybridCNNLSTM")
    assert caught.value.sources == (
        "the built-in registry.architectures.hybrid_cnn_lstm:HybridCNNLSTM",
        f"{module}:TinyNet of the distribution acme 2.1",
    )


def test_two_distributions_with_one_type(install):
    """The error names both distributions that provide a model type."""
    first = install("acme", NETWORKS, TinyNet="TinyNet")
    second = install("umbrella", NETWORKS, TinyNet="TinyNet")
    with pytest.raises(AmbiguousArchitectureError) as caught:
        find_architecture("TinyNet")
    assert set(caught.value.sources) == {
        f"{first}:TinyNet of the distribution acme 2.1",
        f"{second}:TinyNet of the distribution umbrella 2.1",
    }


@pytest.mark.parametrize(
    ("source", "value", "problem"),
    [
        ("import no_such_module_here", "TinyNet", "ModuleNotFoundError: No module named"),
        ("raise LookupError('no licence')", "TinyNet", "LookupError: no licence"),
        (NETWORKS, "HugeNet", "AttributeError: .*HugeNet"),
        (NETWORKS, "not_a_class", "expected a subclass of torch.nn.Module, received <function"),
        (NETWORKS, "Output", "expected a subclass of torch.nn.Module, received <class"),
    ],
)
def test_unusable_network(install, source, value, problem):
    """The error of an unusable network names its distribution."""
    install("acme", source, TinyNet=value)
    with pytest.raises(BrokenArchitectureError, match=problem) as caught:
        try_artifact("model.pt", b"", metadata(**VERSION))
    assert f":{value} of the distribution acme 2.1" in str(caught.value)


def test_unused_broken_network(install):
    """A broken network that is not used does not affect the others."""
    install("acme", "import no_such_module_here", TinyNet="TinyNet")
    assert find_architecture("HybridCNNLSTM").__name__ == "HybridCNNLSTM"


def test_class_of_same_name_is_not_saved(tiny_net, tmp_path):
    """A network whose class is not the installed one of that name is not saved."""
    impostor = type("TinyNet", (tiny_net,), {})
    with pytest.raises(BrokenArchitectureError, match="expected a network of this class to save"):
        save_checkpoint(impostor(6), tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


def test_network_without_constructor_args(install, tmp_path):
    """A network without `constructor_args` is not saved."""
    install("acme", NETWORKS, Forgetful="Forgetful")
    with pytest.raises(BrokenArchitectureError, match="a dict `constructor_args`"):
        save_checkpoint(build_network("Forgetful", {}), tmp_path / "model.pt")


def test_constructor_error(tiny_net, tmp_path):
    """An error of a custom constructor becomes a typed error."""
    content = {"model_type": "TinyNet", "constructor_args": {"size": 2000}, "state_dict": {}}
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(UnreadableArtifactError, match=r"match TinyNet: .*no room for 2000"):
        load_checkpoint(tmp_path / "model.pt", "TinyNet")


def test_too_few_classes(tiny_net, tmp_path):
    """A network with fewer than three classes is rejected."""
    content = checkpoint_of(tiny_net(6, outputs=2), tmp_path)
    with pytest.raises(UnusableModelError, match=r"shape \(1, 3\), received \(1, 2\)"):
        try_artifact("model.pt", content, metadata(**VERSION))
