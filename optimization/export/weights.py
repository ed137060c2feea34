"""Loading of a file of weights into a network, all of them or none."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from optimization.errors import WeightsError

_KEYS = ("state_dict", "model_state_dict")


def load_weights(network: nn.Module, path: Path) -> None:
    """Load the weights in `path` into `network`; nothing in the file is executed.

    The file holds a state dict, or a dict with a state dict under `state_dict` or
    `model_state_dict`, such as the checkpoints of `registry.architectures`.

    Raises:
        WeightsError: the file is missing or damaged, holds more than tensors and plain values, or
            its tensors differ from the network's in name or shape. The network is then unchanged.
    """
    state = _read(path)
    expected = network.state_dict()
    problems = [
        *(f"it lacks {name}" for name in expected if name not in state),
        *(f"it has {name}, which the network lacks" for name in state if name not in expected),
        *(
            f"{name} is {tuple(state[name].shape)}, the network's is {tuple(value.shape)}"
            for name, value in expected.items()
            if isinstance(value, Tensor) and name in state and state[name].shape != value.shape
        ),
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(path, "; ".join(problems[:3]) + more)
    try:
        network.load_state_dict(state)
    # A network may override load_state_dict.
    except Exception as error:
        raise WeightsError(path, f"{type(error).__name__}: {error}") from error


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(path, "there is no such file") from None
    except OSError as error:
        raise WeightsError(path, str(error)) from error
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise WeightsError(
            path, "it is damaged or not in torch's zip format; save it with torch.save"
        )
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        problem = "it is damaged or holds more than tensors and plain values; save a state dict"
        raise WeightsError(path, problem) from error
    # A damaged archive may raise any exception.
    except Exception as error:
        raise WeightsError(path, f"it is damaged: {type(error).__name__}") from error
    state = loaded
    if isinstance(loaded, dict):
        state = next((loaded[key] for key in _KEYS if isinstance(loaded.get(key), dict)), loaded)
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise WeightsError(path, "it holds no state dict, that is, no tensors by name")
    return state
