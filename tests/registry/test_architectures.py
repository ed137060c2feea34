"""The networks and their checkpoints."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from registry.architectures import (
    ARCHITECTURES,
    OUTPUT_NAMES,
    HybridCNNLSTM,
    build_network,
    load_checkpoint,
    save_checkpoint,
)
from registry.errors import (
    InputShapeError,
    MissingArtifactError,
    UnknownArchitectureError,
    UnreadableArtifactError,
)
from registry.records import OUTPUTS

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


def test_the_documented_call_gives_three_outputs_of_the_documented_shapes():
    network = HybridCNNLSTM(input_size=110, lstm_hidden_size=256, lstm_layers=2, dropout=0.3).eval()
    outputs = network(torch.randn(5, 60, 110))
    shapes = {name: tuple(value.shape) for name, value in outputs._asdict().items()}
    assert shapes == {"direction_logits": (5, 3), "confidence": (5, 1), "expected_return": (5, 1)}


def test_the_outputs_are_named_as_the_registry_names_them():
    assert OUTPUT_NAMES == OUTPUTS


def test_confidence_lies_between_zero_and_one(network):
    confidence = network(10 * torch.randn(200, 12, 6)).confidence
    assert ((confidence > 0) & (confidence < 1)).all()


def test_the_lstm_sees_fifteen_steps_of_sixty_timesteps():
    network = HybridCNNLSTM(input_size=6, lstm_hidden_size=8)
    seen = []
    network.lstm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    network(torch.zeros(2, 60, 6))
    assert seen == [15]


def test_every_timestep_and_feature_matters(network):
    # The pooling keeps the largest of four; many windows together leave no position out.
    windows = torch.randn(200, 12, 6, requires_grad=True)
    network(windows).direction_logits.sum().backward()
    assert (windows.grad.abs().sum(dim=0) > 0).all()


@pytest.mark.parametrize("shape", [(60, 6), (2, 12, 5), (2, 12, 7), (2, 3, 6), (1, 2, 12, 6)])
def test_a_wrong_input_shape_is_an_error_that_says_what_came(network, shape):
    with pytest.raises(InputShapeError, match="at least 4 timesteps, 6 features") as caught:
        network(torch.zeros(shape))
    assert caught.value.received == shape


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"input_size": 0}, "input_size must be a positive integer, received 0"),
        ({"lstm_layers": 1.5}, "lstm_layers must be a positive integer, received 1.5"),
        ({"lstm_hidden_size": True}, "lstm_hidden_size must be a positive integer"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), received 1.0"),
        ({"dropout": float("nan")}, r"dropout must be in \[0, 1\), received nan"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"return_scale": 0}, "return_scale must be a positive number"),
    ],
)
def test_constructor_arguments_out_of_range_are_named(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        HybridCNNLSTM(**arguments)


def test_an_unknown_model_type_lists_the_known_ones():
    with pytest.raises(UnknownArchitectureError, match=r"'Perceptron'; known: HybridCNNLSTM"):
        build_network("Perceptron", {})


def test_a_network_of_an_unknown_type_is_not_saved(tmp_path):
    with pytest.raises(UnknownArchitectureError):
        save_checkpoint(nn.Linear(1, 1), tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_checkpoint_gives_the_same_network_back_in_eval_mode(network, checkpoint, as_bytes):
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
def test_a_pickle_is_refused_and_what_it_would_run_is_not_run(tmp_path, bare):
    path, proof = tmp_path / "model.pt", tmp_path / "was-executed"
    if bare:
        path.write_bytes(pickle.dumps(Intruder(proof)))
    else:
        torch.save(
            {"model_type": TYPE, "constructor_args": {}, "state_dict": Intruder(proof)}, path
        )
    with pytest.raises(UnreadableArtifactError):
        load_checkpoint(path, TYPE)
    assert not proof.exists()


def test_a_pickled_module_is_refused_with_the_remedy(network, tmp_path):
    path = tmp_path / "model.pt"
    torch.save(network, path)
    with pytest.raises(UnreadableArtifactError, match=r"never unpickled.*save_checkpoint"):
        load_checkpoint(path, TYPE)


def test_a_missing_file_is_missing_not_unreadable(tmp_path):
    with pytest.raises(MissingArtifactError, match=r"model\.pt"):
        load_checkpoint(tmp_path / "model.pt", TYPE)


def test_a_file_cut_off_anywhere_is_refused(checkpoint):
    content = checkpoint.read_bytes()
    for kept in (0, 1, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(UnreadableArtifactError, match="truncated"):
            load_checkpoint(content[:kept], TYPE)


def test_a_bare_state_dict_is_refused_saying_what_is_missing(network, checkpoint):
    torch.save(dict(network.state_dict()), checkpoint)
    with pytest.raises(
        UnreadableArtifactError, match="lacks model_type, constructor_args, state_dict"
    ):
        load_checkpoint(checkpoint, TYPE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "Perceptron"}, "holds a 'Perceptron', not a 'HybridCNNLSTM'"),
        ({"constructor_args": {"input_size": 7, "lstm_hidden_size": 8, "lstm_layers": 1}}, "size"),
        ({"constructor_args": {"colour": 1}}, "constructor_args do not fit.*colour"),
        ({"constructor_args": {"input_size": -1}}, "input_size must be a positive integer"),
        ({"constructor_args": [1]}, "must both be dicts"),
        ({"state_dict": {}}, "Missing key"),
        ({"state_dict": {"lstm.weight_ih_l0": "x"}}, "Missing key"),
    ],
)
def test_content_that_does_not_fit_is_refused_with_the_reason(checkpoint, changes, reason):
    edit(checkpoint, **changes)
    with pytest.raises(UnreadableArtifactError, match=reason):
        load_checkpoint(checkpoint, TYPE)


def test_a_checkpoint_that_holds_no_dict_is_refused(checkpoint):
    torch.save([1, 2], checkpoint)
    with pytest.raises(UnreadableArtifactError, match="holds a list, not a dict"):
        load_checkpoint(checkpoint, TYPE)


# The exporter itself uses what torch deprecates.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_the_default_exporter_of_torch_takes_it_with_a_dynamic_batch(network):
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(network, (torch.zeros(2, 12, 6),), dynamic_shapes=({0: batch},))
    windows = torch.randn(7, 12, 6)
    for expected, actual in zip(network(windows), program.module()(windows), strict=True):
        torch.testing.assert_close(expected, actual)
