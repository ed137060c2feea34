"""Trains one HybridCNNLSTM: settings in, a network and its out-of-sample figures out."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from examples.eurusd.dataset import HORIZON_BARS, Samples, Split
from examples.eurusd.evaluation import (
    classification_metrics,
    confidence_metrics,
    trade,
    trading_metrics,
)
from registry.architectures import HybridCNNLSTM, NetworkOutput

_EVALUATION_BATCH = 256
_CALIBRATION_STEPS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Settings of a training, which determine the network on a given machine."""

    seed: int = 0
    lstm_hidden_size: int = 256
    lstm_layers: int = 2
    dropout: float = 0.3
    label_smoothing: float = 0.0
    """The share of the target that the other classes receive, which damps unpredictable labels."""
    learning_rate: float = 1e-4
    weight_decay: float = 0.1
    batch_size: int = 64
    max_epochs: int = 15
    patience: int = 4
    """The number of epochs without a better validation loss after which the training stops."""
    confidence_weight: float = 0.2
    return_weight: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A trained network and its evaluation."""

    network: HybridCNNLSTM
    """The network in eval mode, with the weights of the best epoch on the validation part."""
    epochs: int
    metrics: dict[str, float]
    """Figures on the test part, which is not used for training, stopping or calibration."""


def train(settings: TrainingSettings, split: Split) -> Training:
    """Train on `split.train`, stop and calibrate on `split.validation`, test on `split.test`."""
    # Dropout and initialisation use torch's global generator, whose state the caller keeps.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = HybridCNNLSTM(
            input_size=split.train.windows.shape[2],
            lstm_hidden_size=settings.lstm_hidden_size,
            lstm_layers=settings.lstm_layers,
            dropout=settings.dropout,
            return_scale=float(split.train.returns.std()),
        )
        epochs = _fit(network, settings, split)
    _calibrate(network, split.validation)
    return Training(network=network, epochs=epochs, metrics=evaluate(network, split.test))


def evaluate(network: HybridCNNLSTM, samples: Samples) -> dict[str, float]:
    """Return the figures of the network's predictions on consecutive `samples`."""
    outputs = _predict(network, samples)
    directions = outputs.direction_logits.argmax(dim=1).numpy()
    confidence = outputs.confidence[:, 0].numpy().astype(np.float64)
    return {
        **classification_metrics(directions, samples.labels),
        **confidence_metrics(confidence, directions == samples.labels),
        **trading_metrics(trade(directions.tolist(), samples.returns, HORIZON_BARS)),
    }


def _fit(network: HybridCNNLSTM, settings: TrainingSettings, split: Split) -> int:
    """Train until the validation loss stops falling; return the number of epochs."""
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    best_loss, best_weights, best_epoch = float("inf"), copy.deepcopy(network.state_dict()), 0
    progress = tqdm(range(1, settings.max_epochs + 1), unit="epoch", disable=None)
    epoch = 0
    for epoch in progress:
        train_loss = _train_epoch(network, optimizer, settings, split.train)
        loss = _validation_loss(network, settings, split.validation)
        progress.set_postfix(train_loss=f"{train_loss:.3f}", validation_loss=f"{loss:.3f}")
        if loss < best_loss:
            best_loss, best_epoch = loss, epoch
            best_weights = copy.deepcopy(network.state_dict())
        elif epoch - best_epoch >= settings.patience:
            break
    progress.close()
    network.load_state_dict(best_weights)
    network.eval()
    return epoch


def _train_epoch(
    network: HybridCNNLSTM,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
    samples: Samples,
) -> float:
    network.train()
    losses = []
    order = torch.randperm(len(samples)).numpy()
    for start in range(0, len(order), settings.batch_size):
        chosen = order[start : start + settings.batch_size]
        batch = Samples(
            bars=samples.bars[chosen],
            windows=samples.windows[chosen],
            returns=samples.returns[chosen],
            labels=samples.labels[chosen],
        )
        outputs = network(torch.from_numpy(batch.windows))
        loss = _loss(outputs, batch, settings, network.return_scale)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), max_norm=1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


def _validation_loss(network: HybridCNNLSTM, settings: TrainingSettings, samples: Samples) -> float:
    return float(_loss(_predict(network, samples), samples, settings, network.return_scale))


def _loss(
    outputs: NetworkOutput, samples: Samples, settings: TrainingSettings, return_scale: float
) -> Tensor:
    """Return the cross-entropy of direction and confidence, plus the Huber loss of the return."""
    labels = torch.from_numpy(samples.labels)
    direction = functional.cross_entropy(
        outputs.direction_logits, labels, label_smoothing=settings.label_smoothing
    )
    right = (outputs.direction_logits.argmax(dim=1) == labels).float()
    confidence = functional.binary_cross_entropy(outputs.confidence[:, 0], right)
    returns = torch.from_numpy(samples.returns.astype(np.float32))
    # In units of the typical return, at which the Huber loss changes from square to linear.
    expected_return = functional.huber_loss(
        outputs.expected_return[:, 0] / return_scale, returns / return_scale
    )
    return (
        direction
        + settings.confidence_weight * confidence
        + settings.return_weight * expected_return
    )


def _predict(network: HybridCNNLSTM, samples: Samples) -> NetworkOutput:
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(samples), _EVALUATION_BATCH):
            windows = samples.windows[start : start + _EVALUATION_BATCH].copy()
            parts.append(network(torch.from_numpy(windows)))
    return NetworkOutput(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _calibrate(network: HybridCNNLSTM, samples: Samples) -> None:
    """Calibrate the confidence to the accuracy on samples that were not used for training.

    Platt scaling (Platt 1999): a sigmoid of a linear function of the confidence head's logit, which
    is merged into the weights of the head. On its training samples, a network is too accurate.
    """
    outputs = _predict(network, samples)
    right = outputs.direction_logits.argmax(dim=1).numpy() == samples.labels
    logit = torch.logit(outputs.confidence[:, 0].clone())
    # Platt's targets, slightly inside 0 and 1, keep the fit finite if all samples are right or
    # wrong.
    rights, wrongs = int(right.sum()), int((~right).sum())
    high, low = (rights + 1) / (rights + 2), 1 / (wrongs + 2)
    target = torch.from_numpy(np.where(right, high, low).astype(np.float32))
    line = torch.tensor([1.0, 0.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([line], max_iter=_CALIBRATION_STEPS)

    def loss() -> float:
        optimizer.zero_grad()
        value = functional.binary_cross_entropy_with_logits(line[0] * logit + line[1], target)
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    slope, offset = line.detach()
    with torch.no_grad():
        network.confidence_head.weight.mul_(slope)
        network.confidence_head.bias.mul_(slope).add_(offset)
