"""Checkpoints: a network's class name, constructor arguments and weights, nothing executable."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from registry.architectures.hybrid_cnn_lstm import HybridCNNLSTM
from registry.errors import MissingArtifactError, UnknownArchitectureError, UnreadableArtifactError

ARCHITECTURES: Mapping[str, type[nn.Module]] = MappingProxyType({"HybridCNNLSTM": HybridCNNLSTM})
"""Network class by model type."""

CHECKPOINT_FORMAT = (
    "a checkpoint written by registry.architectures.save_checkpoint "
    "(a dict of model_type, constructor_args and state_dict)"
)
_KEYS = ("model_type", "constructor_args", "state_dict")


def build_network(model_type: str, constructor_args: Mapping[str, Any]) -> nn.Module:
    """Build a network with fresh weights.

    Raises:
        UnknownArchitectureError: no class by that model type.
        ValueError, TypeError: arguments that the class does not take.
    """
    return _architecture(model_type)(**constructor_args)


def save_checkpoint(network: nn.Module, path: Path) -> None:
    """Write the network's weights and constructor arguments to `path`, replacing what is there.

    Raises:
        UnknownArchitectureError: the network's class is none of ARCHITECTURES.
    """
    model_type = type(network).__name__
    _architecture(model_type)
    torch.save(
        {
            "model_type": model_type,
            "constructor_args": network.constructor_args,
            "state_dict": network.state_dict(),
        },
        path,
    )


def load_checkpoint(source: Path | bytes, model_type: str) -> nn.Module:
    """Load a network in eval mode, on the CPU, from a checkpoint file or its content.

    Nothing in the file is executed: only tensors and plain values are read from it.

    Raises:
        UnknownArchitectureError: no class by that model type.
        MissingArtifactError: there is no such file.
        UnreadableArtifactError: the file is not a checkpoint of that model type.
    """
    _architecture(model_type)
    where = source if isinstance(source, Path) else "the given bytes"
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
    except FileNotFoundError as error:
        raise MissingArtifactError(where, CHECKPOINT_FORMAT) from error
    except OSError as error:
        raise UnreadableArtifactError(where, CHECKPOINT_FORMAT, str(error)) from error
    try:
        network = _restore(model_type, _read(content))
    except _FormatError as error:
        raise UnreadableArtifactError(where, CHECKPOINT_FORMAT, str(error)) from error
    return network.eval()


class _FormatError(Exception):
    """What is wrong with a checkpoint's content, in words."""


def _architecture(model_type: str) -> type[nn.Module]:
    try:
        return ARCHITECTURES[model_type]
    except KeyError:
        raise UnknownArchitectureError(model_type, sorted(ARCHITECTURES)) from None


def _read(content: bytes) -> Mapping[str, Any]:
    # torch.load also takes bare pickles, an older format that this project never wrote.
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise _FormatError("the file is truncated or not in torch's zip format")
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _FormatError(
            "it is damaged or holds more than tensors and plain values (a pickled module, "
            "perhaps), which is never unpickled; save the network with save_checkpoint"
        ) from error
    # A damaged archive fails wherever the reader stumbles first.
    except Exception as error:
        problem = next(iter(str(error).splitlines()), "")
        raise _FormatError(f"the file is damaged: {type(error).__name__}: {problem}") from error
    if not isinstance(checkpoint, dict):
        raise _FormatError(f"it holds a {type(checkpoint).__name__}, not a dict")
    missing = [key for key in _KEYS if key not in checkpoint]
    if missing:
        raise _FormatError(f"it lacks {', '.join(missing)}")
    return checkpoint


def _restore(model_type: str, checkpoint: Mapping[str, Any]) -> nn.Module:
    found, constructor_args, state_dict = (checkpoint[key] for key in _KEYS)
    if found != model_type:
        raise _FormatError(f"it holds a {found!r}, not a {model_type!r}")
    if not isinstance(constructor_args, dict) or not isinstance(state_dict, dict):
        raise _FormatError("constructor_args and state_dict must both be dicts")
    try:
        network = build_network(model_type, constructor_args)
    except (TypeError, ValueError) as error:
        raise _FormatError(f"constructor_args do not fit {model_type}: {error}") from error
    try:
        network.load_state_dict(state_dict)
    except RuntimeError as error:
        problem = " ".join(str(error).split())
        raise _FormatError(f"state_dict does not fit constructor_args: {problem}") from error
    return network
