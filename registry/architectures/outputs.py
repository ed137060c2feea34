"""The outputs of every built-in network, and the heads that compute them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

DIRECTION_CLASSES = 3
"""The number of classes: HOLD, BUY and SELL; the metadata's label map gives their order."""


class NetworkOutput(NamedTuple):
    """The outputs of a network for a batch."""

    direction_logits: Tensor
    """One unnormalised score per class, (batch, 3)."""
    confidence: Tensor
    """The probability that the direction is right, (batch, 1) in (0, 1)."""
    expected_return: Tensor
    """The market's return over the horizon as a fraction, (batch, 1)."""


OUTPUT_NAMES: tuple[str, ...] = NetworkOutput._fields
"""The names of the outputs in their order, in torch and in ONNX."""


class PredictionHeads(nn.Module):
    """Three linear heads on a network's features of a window.

    Args:
        width: features per window.
        return_scale: the return that one unit of the return head represents.
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
