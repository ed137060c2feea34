"""The HybridCNNLSTM network."""

import pytest
import torch

from registry.architectures import OUTPUT_NAMES, HybridCNNLSTM
from registry.errors import InputShapeError
from registry.records import OUTPUTS


@pytest.fixture
def network():
    """A small network with weights and running statistics that are not the initial ones."""
    torch.manual_seed(3)
    network = HybridCNNLSTM(input_size=6, lstm_hidden_size=8, lstm_layers=1)
    network.train()(torch.randn(16, 12, 6))
    return network.eval()


def test_documented_call():
    """The documented constructor call gives three outputs of the documented shapes."""
    network = HybridCNNLSTM(input_size=110, lstm_hidden_size=256, lstm_layers=2, dropout=0.3).eval()
    outputs = network(torch.randn(5, 60, 110))
    shapes = {name: tuple(value.shape) for name, value in outputs._asdict().items()}
    assert shapes == {"direction_logits": (5, 3), "confidence": (5, 1), "expected_return": (5, 1)}


def test_output_names():
    """The outputs have the names of registry.records.OUTPUTS."""
    assert OUTPUT_NAMES == OUTPUTS


def test_confidence_range(network):
    """The confidence is between 0 and 1."""
    confidence = network(10 * torch.randn(200, 12, 6)).confidence
    assert ((confidence > 0) & (confidence < 1)).all()


def test_pooling_shortens_time():
    """Pooling leaves 15 LSTM steps of 60 timesteps."""
    network = HybridCNNLSTM(input_size=6, lstm_hidden_size=8)
    seen = []
    network.lstm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    network(torch.zeros(2, 60, 6))
    assert seen == [15]


def test_all_inputs_matter(network):
    """The outputs depend on every timestep and feature."""
    # The pooling keeps the largest of four; many windows together leave no position out.
    windows = torch.randn(200, 12, 6, requires_grad=True)
    network(windows).direction_logits.sum().backward()
    assert (windows.grad.abs().sum(dim=0) > 0).all()


@pytest.mark.parametrize("shape", [(60, 6), (2, 12, 5), (2, 12, 7), (2, 3, 6), (1, 2, 12, 6)])
def test_wrong_input_shape(network, shape):
    """The error of a wrong input shape contains the expected and the received shape."""
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
def test_invalid_arguments(arguments, sentence):
    """Constructor arguments out of range are named in the error."""
    with pytest.raises(ValueError, match=sentence):
        HybridCNNLSTM(**arguments)


# The exporter itself uses deprecated parts of torch.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_export_with_dynamic_batch(network):
    """PyTorch's default exporter accepts the network with a dynamic batch."""
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(network, (torch.zeros(2, 12, 6),), dynamic_shapes=({0: batch},))
    windows = torch.randn(7, 12, 6)
    for expected, actual in zip(network(windows), program.module()(windows), strict=True):
        torch.testing.assert_close(expected, actual)
