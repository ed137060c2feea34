"""Networks unlike ours, as users have them."""

import dataclasses
import warnings

import torch
from torch import nn
from torch.nn import functional


class LastStep(nn.Module):
    """A recurrent layer and a head; returns a single tensor."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(48, 3)

    def forward(self, windows):
        return self.head(self.layer(windows)[0][:, -1])


class CellByCell(nn.Module):
    """An LSTM cell, called once per timestep."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTMCell(20, 24), nn.Linear(24, 3)

    def forward(self, windows):
        hidden = state = windows.new_zeros(windows.shape[0], 24)
        for step in range(windows.shape[1]):
            hidden, state = self.cell(windows[:, step], (hidden, state))
        return self.head(hidden)


class WeightNormed(nn.Module):
    """Cannot be copied, and returns a dict; the usual layer of TCNs."""

    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.convolution = nn.utils.weight_norm(nn.Conv1d(20, 32, 3, padding=1))
        self.head = nn.Linear(32, 3)

    def forward(self, windows):
        states = torch.relu(self.convolution(windows.transpose(1, 2)))
        return {"direction_logits": self.head(states.mean(2)), "states": states, "none": None}


class Encoder(nn.Module):
    """PyTorch's own transformer layers, which have a fast path without ONNX operators."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.embedding, self.encoder = nn.Linear(20, 32), nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(32, 3)

    def forward(self, windows):
        state = self.encoder(self.embedding(windows))[:, -1]
        return self.head(state), torch.sigmoid(state[:, :1]), state[:, 1:2]


class Attention(nn.Module):
    """Scaled dot product attention in one call."""

    def __init__(self):
        super().__init__()
        self.projection, self.head = nn.Linear(20, 32), nn.Linear(32, 3)

    def forward(self, windows):
        states = self.projection(windows)
        attended = functional.scaled_dot_product_attention(states, states, states, is_causal=True)
        return self.head(attended[:, -1])


class DeepOrderBook(nn.Module):
    """Convolutions over an image of the order book, then an LSTM; returns probabilities."""

    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(1, 8, (1, 2), stride=(1, 2)),
            nn.LeakyReLU(0.01),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 8, (4, 1)),
            nn.Tanh(),
            nn.Conv2d(8, 48, (1, 10)),
        )
        self.lstm, self.head = nn.LSTM(48, 48, batch_first=True), nn.Linear(48, 3)

    def forward(self, windows):
        states = self.image(windows[:, None]).squeeze(3).transpose(1, 2)
        return torch.softmax(self.head(self.lstm(states)[0][:, -1]), dim=1)


class Regression(nn.Module):
    """A perceptron that returns one number per window, (batch,)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(600, 96), nn.GELU(), nn.LayerNorm(96), nn.Linear(96, 1)
        )

    def forward(self, windows):
        return self.layers(windows).squeeze(-1)


@dataclasses.dataclass
class Scores:
    scores: torch.Tensor
    hidden: tuple[torch.Tensor, torch.Tensor] | None = None


class InADataclass(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(20, 4)

    def forward(self, windows):
        mean = windows.mean(1)
        return Scores(self.linear(mean), (mean, windows.amax(1)))


class Spectrum(nn.Module):
    """Uses an operation without an ONNX operator."""

    def forward(self, windows):
        return torch.fft.rfft(windows, dim=1).abs().mean(1)


class WithSpectrum(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Identity(), Spectrum())
        self.head = nn.Linear(20, 3)

    def forward(self, windows):
        return self.head(self.features(windows))


SHAPE = (30, 20)
FOREIGN = {
    "bidirectional GRU": lambda: LastStep(nn.GRU(20, 24, 2, batch_first=True, bidirectional=True)),
    "bidirectional LSTM": lambda: LastStep(nn.LSTM(20, 24, batch_first=True, bidirectional=True)),
    "LSTM cell": CellByCell,
    "weight norm, dict": WeightNormed,
    "transformer encoder, tuple": Encoder,
    "attention": Attention,
    "image of the order book": DeepOrderBook,
    "regression": Regression,
    "dataclass, nested": InADataclass,
}
