"""HybridCNNLSTM: convolutions, an LSTM, attention and three heads."""

import torch
from torch import Tensor, nn

from registry.architectures.arguments import (
    check_dropout,
    check_positive_integers,
    check_return_scale,
)
from registry.architectures.outputs import DIRECTION_CLASSES, NetworkOutput
from registry.errors import InputShapeError


class HybridCNNLSTM(nn.Module):
    """Convolutions along time, an LSTM over the pooled timesteps, attention and three heads.

    The features are the channels of the convolution. Pooling shortens time by `pool_size` before
    the LSTM, whose steps run sequentially and cost most of the latency: 60 bars become 15 steps.

    Args:
        input_size: features per timestep.
        lstm_hidden_size: width of the LSTM and of the heads' input.
        lstm_layers: stacked LSTM layers.
        dropout: fraction of units dropped in training, in [0, 1).
        conv_channels: channels after the convolution.
        kernel_size: timesteps that one convolution covers, an odd number.
        pool_size: timesteps that become one LSTM step.
        return_scale: the return that one unit of the return head represents. Returns are fractions
            far below one, and a head that must learn their scale learns little else.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        input_size: int = 110,
        lstm_hidden_size: int = 256,
        lstm_layers: int = 2,
        dropout: float = 0.3,
        *,
        conv_channels: int = 64,
        kernel_size: int = 3,
        pool_size: int = 4,
        return_scale: float = 0.003,
    ) -> None:
        super().__init__()
        check_positive_integers(
            input_size=input_size,
            lstm_hidden_size=lstm_hidden_size,
            lstm_layers=lstm_layers,
            conv_channels=conv_channels,
            kernel_size=kernel_size,
            pool_size=pool_size,
        )
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd to keep the length, received {kernel_size}")
        check_dropout(dropout)
        check_return_scale(return_scale)
        self.constructor_args: dict[str, int | float] = {
            "input_size": input_size,
            "lstm_hidden_size": lstm_hidden_size,
            "lstm_layers": lstm_layers,
            "dropout": dropout,
            "conv_channels": conv_channels,
            "kernel_size": kernel_size,
            "pool_size": pool_size,
            "return_scale": return_scale,
        }
        self.input_size, self.pool_size, self.return_scale = input_size, pool_size, return_scale
        self.convolution = nn.Sequential(
            nn.Conv1d(input_size, conv_channels, kernel_size, padding=kernel_size // 2),
            nn.BatchNorm1d(conv_channels),
            nn.ReLU(),
            nn.MaxPool1d(pool_size),
            nn.Dropout(dropout),
        )
        self.lstm = nn.LSTM(
            conv_channels,
            lstm_hidden_size,
            lstm_layers,
            batch_first=True,
            # torch warns about dropout between layers if there is only one layer.
            dropout=dropout if lstm_layers > 1 else 0.0,
        )
        self.attention = nn.Linear(lstm_hidden_size, 1)
        self.dropout = nn.Dropout(dropout)
        self.direction_head = nn.Linear(lstm_hidden_size, DIRECTION_CLASSES)
        self.confidence_head = nn.Linear(lstm_hidden_size, 1)
        self.return_head = nn.Linear(lstm_hidden_size, 1)

    def forward(self, windows: Tensor) -> NetworkOutput:
        """Predict from `windows`, (batch, timesteps, features) float32.

        Raises:
            InputShapeError: the rank or feature count differs, or there are too few timesteps to
            pool.
        """
        # Only sizes that an export keeps fixed are compared here, never that of the batch.
        if (
            windows.ndim != 3
            or windows.shape[2] != self.input_size
            or windows.shape[1] < self.pool_size
        ):
            raise InputShapeError(
                f"(batch, at least {self.pool_size} timesteps, {self.input_size} features)",
                tuple(windows.shape),
            )
        steps = self.convolution(windows.transpose(1, 2)).transpose(1, 2)
        states, _ = self.lstm(steps)
        weights = torch.softmax(self.attention(states), dim=1)
        context = self.dropout((weights * states).sum(dim=1))
        return NetworkOutput(
            direction_logits=self.direction_head(context),
            confidence=torch.sigmoid(self.confidence_head(context)),
            expected_return=self.return_head(context) * self.return_scale,
        )
