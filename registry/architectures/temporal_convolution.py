"""A temporal convolutional network: dilated causal convolutions without recurrence."""

from torch import Tensor, nn
from torch.nn import functional

from registry.architectures.arguments import (
    check_dropout,
    check_positive_integers,
    check_return_scale,
)
from registry.architectures.outputs import NetworkOutput, PredictionHeads
from registry.errors import InputShapeError


class TemporalConvNet(nn.Module):
    """Residual blocks of causal convolutions with doubling dilation, and three heads.

    After Bai, Kolter and Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent
    Networks for Sequence Modeling" (arXiv 1803.01271), section 3: every block consists of two
    causal convolutions and a residual connection. Batch normalisation replaces weight
    normalisation, since it folds into the convolutions at inference. The heads use the last
    timestep, which depends on the last `receptive_field` timesteps.

    Args:
        input_size: features per timestep.
        channels: width of every block.
        blocks: residual blocks; block i has a dilation of 2^i.
        kernel_size: timesteps that one convolution covers, at least 2.
        dropout: fraction of channels dropped in training, in [0, 1).
        return_scale: the return that one unit of the return head represents; see HybridCNNLSTM.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        input_size: int = 110,
        channels: int = 64,
        blocks: int = 5,
        kernel_size: int = 3,
        dropout: float = 0.2,
        *,
        return_scale: float = 0.003,
    ) -> None:
        super().__init__()
        check_positive_integers(
            input_size=input_size, channels=channels, blocks=blocks, kernel_size=kernel_size
        )
        if kernel_size < 2:
            raise ValueError(
                f"kernel_size must be at least 2 to cover the past, received {kernel_size}"
            )
        check_dropout(dropout)
        check_return_scale(return_scale)
        self.constructor_args: dict[str, int | float] = {
            "input_size": input_size,
            "channels": channels,
            "blocks": blocks,
            "kernel_size": kernel_size,
            "dropout": dropout,
            "return_scale": return_scale,
        }
        self.input_size = input_size
        self.receptive_field = 1 + 2 * (kernel_size - 1) * (2**blocks - 1)
        self.blocks = nn.Sequential(
            *(
                _ResidualBlock(
                    channels if number else input_size, channels, kernel_size, 2**number, dropout
                )
                for number in range(blocks)
            )
        )
        self.heads = PredictionHeads(channels, return_scale)

    def forward(self, windows: Tensor) -> NetworkOutput:
        """Predict from `windows`, (batch, timesteps, features) float32.

        Raises:
            InputShapeError: the rank or feature count differs.
        """
        if windows.ndim != 3 or windows.shape[2] != self.input_size:
            raise InputShapeError(
                f"(batch, timesteps, {self.input_size} features)", tuple(windows.shape)
            )
        states = self.blocks(windows.transpose(1, 2))
        output: NetworkOutput = self.heads(states[:, :, -1])
        return output


class _ResidualBlock(nn.Module):
    """Two causal convolutions and a residual connection, (batch, channels, timesteps)."""

    def __init__(
        self, inputs: int, channels: int, kernel_size: int, dilation: int, dropout: float
    ) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            _CausalConvolution(inputs, channels, kernel_size, dilation),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Dropout1d(dropout),
            _CausalConvolution(channels, channels, kernel_size, dilation),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Dropout1d(dropout),
        )
        self.around = nn.Identity() if inputs == channels else nn.Conv1d(inputs, channels, 1)

    def forward(self, states: Tensor) -> Tensor:
        return functional.relu(self.convolutions(states) + self.around(states))


class _CausalConvolution(nn.Conv1d):
    """A convolution whose output at a timestep depends on no later timestep."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, dilation: int) -> None:
        super().__init__(inputs, outputs, kernel_size, dilation=dilation)
        self.past = (kernel_size - 1) * dilation

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(functional.pad(states, (self.past, 0)))
