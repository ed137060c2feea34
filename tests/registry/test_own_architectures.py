"""Networks that another installed distribution brings."""

import itertools
import sys

import pytest
import torch

from registry.architectures import build_network, find_architecture, load_checkpoint
from registry.architectures.checkpoint import save_checkpoint
from registry.errors import (
    AmbiguousArchitectureError,
    BrokenArchitectureError,
    UnknownArchitectureError,
    UnreadableArtifactError,
    UnusableModelError,
)
from registry.predictors import load_predictor, try_out
from testkit.models import metadata

NETWORKS = '''
from typing import NamedTuple
import torch
from torch import nn

class Answer(NamedTuple):
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
        return Answer(logits, logits.softmax(1).amax(1))

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
    """Return what installs a distribution with the given entry points and returns its module."""

    def run(distribution, source, **networks):
        module = f"acme_networks_{next(numbers)}"
        site = tmp_path / distribution
        (site / f"{distribution}-2.1.dist-info").mkdir(parents=True)
        (site / f"{module}.py").write_text(source)
        info = site / f"{distribution}-2.1.dist-info"
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n"
        )
        lines = [f"{name} = {module}:{value}" for name, value in networks.items()]
        info.joinpath("entry_points.txt").write_text(
            "\n".join(["[tradeserve.architectures]", *lines, ""])
        )
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


def test_a_network_of_ones_own_is_saved_loaded_and_run(tiny_net, tmp_path):
    torch.manual_seed(0)
    network = tiny_net(6)
    content = checkpoint_of(network, tmp_path)
    try_out(metadata(**VERSION), {"model.pt": content}.__getitem__)
    windows = torch.randn(5, 3, 2)
    outputs = load_predictor(content, metadata(**VERSION), num_threads=1)(windows.numpy())
    assert outputs.keys() == NAMES.keys()
    expected = network(windows)
    torch.testing.assert_close(torch.tensor(outputs["direction_logits"]), expected.logits)
    torch.testing.assert_close(torch.tensor(outputs["confidence"][:, 0]), expected.certainty)


def test_a_model_type_may_be_named_otherwise_than_its_class(install, tmp_path):
    install("acme", NETWORKS, acme_tiny="TinyNet")
    network = build_network("acme_tiny", {"size": 6})
    content = checkpoint_of(network, tmp_path, "acme_tiny")
    assert type(load_checkpoint(content, "acme_tiny")) is type(network)


def test_an_unknown_model_type_lists_what_is_installed_and_how_to_add(tiny_net):
    with pytest.raises(
        UnknownArchitectureError,
        match=r"known: HybridCNNLSTM, .*, TinyNet; install .* group tradeserve\.architectures",
    ):
        find_architecture("Perceptron")


def test_a_built_in_network_is_not_replaced_silently(install):
    module = install("acme", NETWORKS, HybridCNNLSTM="TinyNet")
    with pytest.raises(AmbiguousArchitectureError) as caught:
        find_architecture("HybridCNNLSTM")
    assert caught.value.sources == (
        "the built-in registry.architectures.hybrid_cnn_lstm:HybridCNNLSTM",
        f"{module}:TinyNet of the distribution acme 2.1",
    )


def test_two_distributions_with_one_model_type_are_both_named(install):
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
        (NETWORKS, "Answer", "expected a subclass of torch.nn.Module, received <class"),
    ],
)
def test_a_network_that_cannot_be_used_is_an_error_that_names_its_distribution(
    install, source, value, problem
):
    install("acme", source, TinyNet=value)
    with pytest.raises(BrokenArchitectureError, match=problem) as caught:
        try_out(metadata(**VERSION), lambda _: b"")
    assert f":{value} of the distribution acme 2.1" in str(caught.value)


def test_a_broken_network_that_nobody_asked_for_does_no_harm(install):
    install("acme", "import no_such_module_here", TinyNet="TinyNet")
    assert find_architecture("HybridCNNLSTM").__name__ == "HybridCNNLSTM"


def test_a_class_of_the_same_name_that_is_not_the_installed_one_is_not_saved(tiny_net, tmp_path):
    impostor = type("TinyNet", (tiny_net,), {})
    with pytest.raises(BrokenArchitectureError, match="expected a network of it to save"):
        save_checkpoint(impostor(6), tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


def test_a_network_that_forgets_its_arguments_is_not_saved(install, tmp_path):
    install("acme", NETWORKS, Forgetful="Forgetful")
    with pytest.raises(BrokenArchitectureError, match="a dict `constructor_args`"):
        save_checkpoint(build_network("Forgetful", {}), tmp_path / "model.pt")


def test_a_constructor_that_raises_anything_is_a_typed_error(tiny_net, tmp_path):
    content = {"model_type": "TinyNet", "constructor_args": {"size": 2000}, "state_dict": {}}
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(UnreadableArtifactError, match=r"fit TinyNet: .*no room for 2000"):
        load_checkpoint(tmp_path / "model.pt", "TinyNet")


def test_a_network_that_answers_with_too_few_classes_is_refused(tiny_net, tmp_path):
    content = checkpoint_of(tiny_net(6, outputs=2), tmp_path)
    with pytest.raises(UnusableModelError, match=r"shape \(1, 3\), received \(1, 2\)"):
        try_out(metadata(**VERSION), {"model.pt": content}.__getitem__)
