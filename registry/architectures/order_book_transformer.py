"""A transformer encoder for limit order books, with convolutions over neighbouring timesteps."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from registry.architectures.arguments import (
    check_dropout,
    check_positive_integers,
    check_return_scale,
)
from registry.architectures.outputs import NetworkOutput, PredictionHeads
from registry.errors import InputShapeError


class OrderBookTransformer(nn.Module):
    """Causal convolutions over the order book's levels, a causal encoder and three heads.

    After Wallbridge, "Transformers for limit order books" (arXiv 2003.00130): dilated causal
    convolutions extract features of the recent past; these are normalised, the position in the
    window is added, and transformer blocks follow in which no timestep attends to a later one.
    Positions are sines and cosines (Vaswani et al., arXiv 1706.03762, section 3.5). Normalisation
    precedes each block (Xiong et al., arXiv 2002.04745), so training needs no warm-up.

    Args:
        input_size: features per timestep, for example 40: price and size of ten levels per side.
        model_size: width of the encoder, a multiple of `heads`.
        heads: attention heads.
        layers: transformer blocks.
        feedforward_size: width inside a block.
        convolutions: causal convolutions before the encoder; number i has a dilation of 2^i.
        max_timesteps: the longest window.
        dropout: fraction of units dropped in training, in [0, 1).
        return_scale: the return that one unit of the return head represents; see HybridCNNLSTM.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        input_size: int = 40,
        model_size: int = 64,
        heads: int = 4,
        layers: int = 2,
        feedforward_size: int = 128,
        convolutions: int = 3,
        max_timesteps: int = 100,
        dropout: float = 0.1,
        *,
        return_scale: float = 0.003,
    ) -> None:
        super().__init__()
        check_positive_integers(
            input_size=input_size,
            model_size=model_size,
            heads=heads,
            layers=layers,
            feedforward_size=feedforward_size,
            convolutions=convolutions,
            max_timesteps=max_timesteps,
        )
        if model_size % heads or model_size % 2:
            raise ValueError(
                f"model_size must be even and a multiple of heads={heads}, received {model_size}"
            )
        check_dropout(dropout)
        check_return_scale(return_scale)
        self.constructor_args: dict[str, int | float] = {
            "input_size": input_size,
            "model_size": model_size,
            "heads": heads,
            "layers": layers,
            "feedforward_size": feedforward_size,
            "convolutions": convolutions,
            "max_timesteps": max_timesteps,
            "dropout": dropout,
            "return_scale": return_scale,
        }
        self.input_size, self.max_timesteps = input_size, max_timesteps
        self.convolutions = nn.ModuleList(
            nn.Conv1d(model_size if number else input_size, model_size, 2, dilation=2**number)
            for number in range(convolutions)
        )
        self.normalisation = nn.LayerNorm(model_size)
        # They follow from the arguments, so the checkpoint does not contain them.
        self.register_buffer("positions", _positions(max_timesteps, model_size), persistent=False)
        self.register_buffer("future", _future(max_timesteps), persistent=False)
        self.blocks = nn.ModuleList(
            _Block(model_size, heads, feedforward_size, dropout) for _ in range(layers)
        )
        self.heads = PredictionHeads(model_size, return_scale)

    def forward(self, windows: Tensor) -> NetworkOutput:
        """Predict from `windows`, (batch, timesteps, features) float32.

        Raises:
            InputShapeError: the rank or feature count differs, or there are too many timesteps.
        """
        if (
            windows.ndim != 3
            or windows.shape[2] != self.input_size
            or windows.shape[1] > self.max_timesteps
        ):
            raise InputShapeError(
                f"(batch, at most {self.max_timesteps} timesteps, {self.input_size} features)",
                tuple(windows.shape),
            )
        timesteps = windows.shape[1]
        states = windows.transpose(1, 2)
        for number, convolution in enumerate(self.convolutions):
            states = functional.relu(convolution(functional.pad(states, (2**number, 0))))
        positions, future = self.get_buffer("positions"), self.get_buffer("future")
        states = self.normalisation(states.transpose(1, 2)) + positions[:timesteps]
        for block in self.blocks:
            states = block(states, future[:timesteps, :timesteps])
        output: NetworkOutput = self.heads(states[:, -1])
        return output


class _Block(nn.Module):
    """Attention among timesteps, then a feedforward network per timestep; both are residual."""

    def __init__(self, model_size: int, heads: int, feedforward_size: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, 1 / math.sqrt(model_size // heads)
        self.before_attention = nn.LayerNorm(model_size)
        self.projections = nn.Linear(model_size, 3 * model_size)
        self.combination = nn.Linear(model_size, model_size)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(model_size),
            nn.Linear(model_size, feedforward_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward_size, model_size),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, future: Tensor) -> Tensor:
        states = states + self.dropout(self._attend(self.before_attention(states), future))
        output: Tensor = states + self.dropout(self.feedforward(states))
        return output

    def _attend(self, states: Tensor, future: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.projections(states).chunk(3, dim=2)
        )
        weights = torch.softmax(query @ key.transpose(2, 3) * self.scale + future, dim=3)
        attended: Tensor = self.combination((weights @ value).transpose(1, 2).flatten(2))
        return attended


def _positions(timesteps: int, size: int) -> Tensor:
    """Return (timesteps, size) sines and cosines with wavelengths of 2 pi to 20,000 pi."""
    rates = torch.exp(torch.arange(0, size, 2) * (-math.log(10_000) / size))
    angles = torch.arange(timesteps)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def _future(timesteps: int) -> Tensor:
    """Return the mask (timesteps, timesteps): minus infinity for columns after the row."""
    return torch.full((timesteps, timesteps), -math.inf).triu(1)
