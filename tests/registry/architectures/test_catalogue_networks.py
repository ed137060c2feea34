"""The built-in TemporalConvNet and OrderBookTransformer."""

import pytest
import torch

from registry.architectures import (
    ARCHITECTURES,
    OrderBookTransformer,
    TemporalConvNet,
    load_checkpoint,
    save_checkpoint,
)
from registry.errors import InputShapeError

pytestmark = pytest.mark.slow

SMALL = {
    "TemporalConvNet": {"input_size": 6, "channels": 8, "blocks": 2},
    "OrderBookTransformer": {
        "input_size": 6,
        "model_size": 8,
        "heads": 2,
        "feedforward_size": 16,
        "max_timesteps": 20,
    },
}


@pytest.fixture(params=SMALL)
def network(request):
    torch.manual_seed(3)
    network = ARCHITECTURES[request.param](**SMALL[request.param])
    network.train()(torch.randn(16, 12, 6))
    return network.eval()


def test_outputs(network):
    """A network has the outputs and shapes of every built-in network."""
    outputs = network(torch.randn(5, 12, 6))
    shapes = {name: tuple(value.shape) for name, value in outputs._asdict().items()}
    assert shapes == {"direction_logits": (5, 3), "confidence": (5, 1), "expected_return": (5, 1)}
    assert ((outputs.confidence > 0) & (outputs.confidence < 1)).all()


def test_outputs_do_not_depend_on_batch(network):
    """A window has the same outputs alone and in a batch."""
    windows = torch.randn(4, 12, 6)
    together = network(windows)
    alone = network(windows[2:3])
    for name, values in together._asdict().items():
        torch.testing.assert_close(getattr(alone, name), values[2:3])


def test_checkpoint_restores_network(network, tmp_path):
    """A network restored from its checkpoint returns identical outputs."""
    path = tmp_path / "model.pt"
    save_checkpoint(network, path)
    windows = torch.randn(2, 12, 6)
    restored = load_checkpoint(path, type(network).__name__)
    for first, second in zip(restored(windows), network(windows), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("shape", [(12, 6), (1, 12, 5), (1, 1, 12, 6)])
def test_wrong_input_shape(network, shape):
    """An input of another shape is an error."""
    with pytest.raises(InputShapeError, match=r"6 features\)"):
        network(torch.zeros(shape))


def test_network_learns(network):
    """A network learns that the direction is the sign of a feature two timesteps earlier."""
    torch.manual_seed(0)
    windows = torch.randn(128, 12, 6)
    labels = (windows[:, -3, 2] > 0).long()
    optimizer = torch.optim.Adam(network.train().parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(windows).direction_logits, labels)
        loss.backward()
        optimizer.step()
    chosen = network.eval()(windows).direction_logits.argmax(1)
    assert (chosen == labels).float().mean() > 0.9


def test_receptive_field():
    """The outputs of TemporalConvNet depend on `receptive_field` timesteps and no earlier one."""
    network = TemporalConvNet(input_size=1, channels=4, blocks=3, kernel_size=2).eval()
    windows = torch.randn(1, 40, 1, requires_grad=True)
    network(windows).direction_logits.sum().backward()
    seen = windows.grad[0, :, 0].nonzero()[:, 0]
    assert 40 - int(seen.min()) <= network.receptive_field == 15


def test_transformer_is_causal():
    """A change of the last timestep changes no earlier state of the transformer."""
    torch.manual_seed(0)
    network = OrderBookTransformer(**SMALL["OrderBookTransformer"]).eval()
    windows = torch.randn(1, 12, 6)
    states = []
    network.blocks[-1].register_forward_hook(lambda *call: states.append(call[2]))
    network(windows)
    network(torch.cat([windows[:, :-1], windows[:, -1:] + 5], dim=1))
    torch.testing.assert_close(states[0][:, :-1], states[1][:, :-1])
    assert not torch.equal(states[0][:, -1], states[1][:, -1])


def test_transformer_depends_on_order():
    """The outputs of the transformer depend on the order of the timesteps."""
    network = OrderBookTransformer(**SMALL["OrderBookTransformer"], convolutions=1).eval()
    windows = torch.randn(1, 12, 6)
    shuffled = torch.cat([windows[:, :5].flip(1), windows[:, 5:]], dim=1)
    first, second = network(windows).direction_logits, network(shuffled).direction_logits
    assert not torch.allclose(first, second)


def test_window_exceeds_positions():
    """A window longer than `max_timesteps` is an error."""
    network = OrderBookTransformer(**SMALL["OrderBookTransformer"]).eval()
    with pytest.raises(InputShapeError, match="at most 20 timesteps"):
        network(torch.zeros(1, 21, 6))


@pytest.mark.parametrize(
    ("architecture", "arguments", "problem"),
    [
        (TemporalConvNet, {"kernel_size": 1}, "kernel_size must be at least 2"),
        (TemporalConvNet, {"blocks": 0}, "blocks must be a positive integer"),
        (TemporalConvNet, {"dropout": 1}, "dropout must be in"),
        (OrderBookTransformer, {"model_size": 30, "heads": 4}, "a multiple of heads=4"),
        (OrderBookTransformer, {"model_size": 9, "heads": 3}, "must be even"),
        (OrderBookTransformer, {"return_scale": 0}, "return_scale must be a positive number"),
    ],
)
def test_invalid_arguments(architecture, arguments, problem):
    """Constructor arguments out of range are named in the error."""
    with pytest.raises(ValueError, match=problem):
        architecture(**arguments)
