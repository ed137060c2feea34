"""PyTorch networks as functions, run in eval mode on the CPU."""

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parameter import is_lazy

from optimization.errors import ExportError, InvalidInputError
from optimization.outputs import name_outputs
from optimization.runtime import Model, Outputs, Windows

_PREPARED = threading.Lock()
"""Only one network is prepared at a time: the exporter, PyTorch's number of threads and its fast
path are global state."""


def check_network(network: object) -> None:
    """Return if the argument is a network whose weights all exist.

    Raises:
        InvalidInputError: it is not a Module, or a lazy layer has no weights yet.
    """
    if not isinstance(network, nn.Module):
        received = f"{network!r:.80}"
        raise InvalidInputError("model", "an instance of torch.nn.Module", received)
    lazy = [name for name, parameter in network.named_parameters() if is_lazy(parameter)]
    if lazy:
        expected = "a network with weights; run it once on a batch to initialise its lazy layers"
        raise InvalidInputError("model", expected, f"{', '.join(lazy)} without a shape")


@contextmanager
def prepared(network: nn.Module, output_path: Path) -> Iterator[nn.Module]:
    """Yield the network in eval mode on the CPU, and restore the caller's network afterwards.

    Args:
        network: the network; it is copied if that is possible.
        output_path: the ONNX file of the network, for messages.

    Raises:
        ExportError: the network is not on the CPU and cannot be copied there.
    """
    with _PREPARED:
        yield from _in_eval_mode(network, output_path)


def _in_eval_mode(network: nn.Module, output_path: Path) -> Iterator[nn.Module]:
    modes = {module: module.training for module in network.modules()}
    try:
        # A copy, since exporting needs eval mode and the caller may be in the middle of training.
        try:
            reference = copy.deepcopy(network)
        # Networks that keep computed tensors, such as those of weight_norm, cannot be copied.
        except Exception as error:
            if any(parameter.device.type != "cpu" for parameter in network.parameters()):
                problem = f"it is not on the CPU and cannot be copied there: {error}"
                raise ExportError(output_path, problem) from error
            reference = network
        yield reference.cpu().eval()
    finally:
        for module, training in modes.items():
            module.training = training


def run_network(network: nn.Module, windows: Windows) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of a network, which must be in eval mode, by name."""
    with torch.inference_mode():
        # A copy, since torch refuses to share memory that is read-only.
        outputs = name_outputs(network(torch.from_numpy(windows.copy())))
        return {name: value.numpy() for name, value in outputs.items()}


def torch_model(network: nn.Module) -> Model:
    """Return `network`, which must be in eval mode and on the CPU, as a Model.

    The model raises InvalidInputError if the network fails on its windows.
    """

    def run(windows: Windows) -> Outputs:
        try:
            return run_network(network, windows)
        # The network's own code may raise any exception.
        except Exception as error:
            raise InvalidInputError(
                "input of the network",
                "windows on which it runs",
                f"float32 of shape {windows.shape}: {type(error).__name__}: {error}",
            ) from error

    return run


@contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Set PyTorch's number of threads, which is global to the process, and restore it at exit."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
