"""What every network of ours gives, and the heads that give it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

DIRECTION_CLASSES = 3
"""HOLD, BUY and SELL; which index is which is the label map of the version's metadata."""


class NetworkOutput(NamedTuple):
    """What the network gives for a batch."""

    direction_logits: Tensor
    """(batch, 3), one unnormalised score per class."""
    confidence: Tensor
    """(batch, 1) in (0, 1), the probability that the direction is right."""
    expected_return: Tensor
    """(batch, 1), the market's return over the horizon as a fraction."""


OUTPUT_NAMES: tuple[str, ...] = NetworkOutput._fields
"""Names of the outputs in their order, in torch and in ONNX."""


class PredictionHeads(nn.Module):
    """Three linear heads on what a network made of a window.

    Args:
        width: numbers that the network gives for a window.
        return_scale: what one unit of the return head stands for.
    """

    def __init__(self, width: int, return_scale: float) -> None:
        super().__init__()
        self.return_scale = return_scale
        self.direction = nn.Linear(width, DIRECTION_CLASSES)
        self.confidence = nn.Linear(width, 1)
        self.expected_return = nn.Linear(width, 1)

    def forward(self, context: Tensor) -> NetworkOutput:
        """Predict from `context`, (batch, width)."""
        return NetworkOutput(
            direction_logits=self.direction(context),
            confidence=torch.sigmoid(self.confidence(context)),
            expected_return=self.expected_return(context) * self.return_scale,
        )
