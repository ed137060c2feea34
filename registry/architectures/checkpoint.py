"""Checkpoints: a network's model type, constructor arguments and weights; nothing executable."""

import inspect
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from registry.architectures.catalogue import find_architecture
from registry.errors import BrokenArchitectureError, MissingArtifactError, UnreadableArtifactError

CHECKPOINT_FORMAT = (
    "a checkpoint written by registry.architectures.save_checkpoint "
    "(a dict of model_type, constructor_args and state_dict), or a state dict whose constructor "
    "arguments are in training_params"
)
_KEYS = ("model_type", "constructor_args", "state_dict")


def build_network(model_type: str, constructor_args: Mapping[str, Any]) -> nn.Module:
    """Build a network with initial weights.

    Raises:
        ArchitectureError: the model type has no usable network class.
        ValueError, TypeError: the class does not accept the arguments.
    """
    return find_architecture(model_type)(**constructor_args)


def save_checkpoint(network: nn.Module, path: Path, model_type: str | None = None) -> None:
    """Write the network's weights and constructor arguments to `path`, replacing any file there.

    Args:
        network: a network that has its constructor's arguments, plain values by name, in the
            attribute `constructor_args`.
        path: the file to write.
        model_type: the model type of the network's class; by default the name of the class.

    Raises:
        ArchitectureError: the model type has no usable class, or a class other than the network's.
    """
    model_type = type(network).__name__ if model_type is None else model_type
    architecture = find_architecture(model_type)
    if type(network) is not architecture:
        problem = f"expected a network of this class to save, received one of {type(network)}"
        raise BrokenArchitectureError(model_type, str(architecture), problem)
    constructor_args = getattr(network, "constructor_args", None)
    if not isinstance(constructor_args, dict):
        problem = (
            f"expected the constructor's arguments in a dict `constructor_args` of the network, "
            f"received {constructor_args!r}"
        )
        raise BrokenArchitectureError(model_type, str(architecture), problem)
    torch.save(
        {
            "model_type": model_type,
            "constructor_args": constructor_args,
            "state_dict": network.state_dict(),
        },
        path,
    )


def load_checkpoint(
    source: Path | bytes,
    model_type: str,
    training_params: Mapping[str, Any] = MappingProxyType({}),
) -> nn.Module:
    """Load a network in eval mode, on the CPU, from a checkpoint file or its content.

    Nothing in the file is executed: only tensors and plain values are read from it.

    Args:
        source: the file or its content: a checkpoint, or the network's state dict alone.
        model_type: the model type of the network.
        training_params: hold the constructor's arguments for a state dict, beside other values.
            Arguments that are missing take the constructor's defaults.

    Raises:
        ArchitectureError: the model type has no usable network class.
        MissingArtifactError: the file does not exist.
        UnreadableArtifactError: the file is not a checkpoint of that model type.
    """
    architecture = find_architecture(model_type)
    where = source if isinstance(source, Path) else "the given bytes"
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
    except FileNotFoundError as error:
        raise MissingArtifactError(where, CHECKPOINT_FORMAT) from error
    except OSError as error:
        raise UnreadableArtifactError(where, CHECKPOINT_FORMAT, str(error)) from error
    try:
        found = _read(content)
        if _is_state_dict(found):
            found = {
                "model_type": model_type,
                "constructor_args": _constructor_args(architecture, training_params),
                "state_dict": found,
            }
        network = _restore(model_type, architecture, found)
    except _FormatError as error:
        raise UnreadableArtifactError(where, CHECKPOINT_FORMAT, str(error)) from error
    return network.eval()


class _FormatError(Exception):
    """The content is not a checkpoint; the message states why."""


def _read(content: bytes) -> Mapping[str, Any]:
    # torch.load also accepts bare pickles, an older format that this project never wrote.
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise _FormatError("the file is truncated or not in torch's zip format")
    try:
        checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _FormatError(
            "it is damaged or contains more than tensors and plain values (for example a pickled "
            "module), which is never unpickled; save the network with save_checkpoint"
        ) from error
    # A damaged archive may raise any error.
    except Exception as error:
        problem = next(iter(str(error).splitlines()), "")
        raise _FormatError(f"the file is damaged: {type(error).__name__}: {problem}") from error
    if not isinstance(checkpoint, dict):
        raise _FormatError(f"it contains a {type(checkpoint).__name__}, not a dict")
    missing = [key for key in _KEYS if key not in checkpoint]
    if missing and not _is_state_dict(checkpoint):
        raise _FormatError(f"it lacks {', '.join(missing)}")
    return checkpoint


def _is_state_dict(content: Mapping[str, Any]) -> bool:
    """Return whether content is the weights of a network alone."""
    return bool(content) and all(isinstance(value, torch.Tensor) for value in content.values())


def _constructor_args(
    architecture: type[nn.Module], training_params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a constructor among the parameters of a training."""
    accepted = inspect.signature(architecture).parameters
    return {name: value for name, value in training_params.items() if name in accepted}


def _restore(
    model_type: str, architecture: type[nn.Module], checkpoint: Mapping[str, Any]
) -> nn.Module:
    found, constructor_args, state_dict = (checkpoint[key] for key in _KEYS)
    if found != model_type:
        raise _FormatError(f"it contains a {found!r}, not a {model_type!r}")
    if not isinstance(constructor_args, dict) or not isinstance(state_dict, dict):
        raise _FormatError("constructor_args and state_dict must both be dicts")
    # A custom class may raise any error.
    try:
        network = architecture(**constructor_args)
    except Exception as error:
        raise _FormatError(f"constructor_args do not match {model_type}: {error}") from error
    try:
        network.load_state_dict(state_dict)
    except Exception as error:
        problem = " ".join(str(error).split())
        given = ", ".join(f"{name}={value!r}" for name, value in constructor_args.items())
        raise _FormatError(
            f"state_dict does not match constructor_args ({given or 'none given'}): {problem}"
        ) from error
    return network
