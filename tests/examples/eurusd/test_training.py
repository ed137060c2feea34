"""Training of one network on few bars."""

import numpy as np
import pytest
import torch

from examples.eurusd.training import TrainingSettings, evaluate, train

pytestmark = pytest.mark.slow

SMALL = TrainingSettings(lstm_hidden_size=8, lstm_layers=1, max_epochs=2)


def test_determinism(split):
    """The same settings train the same network."""
    first, second = train(SMALL, split), train(SMALL, split)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_random_state(split):
    """Training does not change the caller's random state."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(SMALL, split)
    assert torch.equal(torch.rand(1), expected)


def test_calibration(split):
    """The confidence is calibrated on the validation part."""
    network = train(SMALL, split).network
    figures = evaluate(network, split.validation)
    # Platt's targets are slightly inside 0 and 1, by one sample of each.
    assert figures["mean_confidence"] == pytest.approx(figures["accuracy"], abs=0.02)


def test_learnable_label(split):
    """Training finds a label that the windows contain: the pipeline is not the limit."""
    parts = {}
    for name in ("train", "validation", "test"):
        part = getattr(split, name)
        windows = np.zeros_like(part.windows)
        windows[:, :, :3] = np.eye(3, dtype=np.float32)[part.labels][:, None, :]
        parts[name] = type(part)(
            bars=part.bars, windows=windows, returns=part.returns, labels=part.labels
        )
    settings = TrainingSettings(
        lstm_hidden_size=16, lstm_layers=1, dropout=0.0, learning_rate=1e-2, max_epochs=6
    )
    assert train(settings, type(split)(**parts)).metrics["accuracy"] > 0.95
