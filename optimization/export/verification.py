"""Verification of an exported file against its network, and detection of value reads."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from optimization.errors import ExportError, InvalidInputError, ParityError
from optimization.measurement.parity import Parity, compare_outputs, require_parity
from optimization.networks import torch_model
from optimization.runtime import Model, OnnxModel, Windows

VERIFIED_BATCHES = (1, 2, 7, 32)
"""The batch sizes at which every exported file is compared with its network."""

VERIFIED_SCALES = (0.0, 0.01, 10.0, 1000.0)
"""The scales of additional noise, at which a branch on the magnitude of a feature shows."""

_PERTURBATION = 2.0**-20
"""The relative change of windows: a few roundings of single precision."""

_ROUNDINGS = 10.0
"""The accepted difference in units of the network's own change under that perturbation."""


def verify_export(
    network: nn.Module,
    content: bytes,
    output_path: Path,
    shape: tuple[int, ...],
    tolerance: float,
) -> Parity:
    """Return the parity of file and network at the largest batch size of VERIFIED_BATCHES.

    Raises:
        ParityError: the outputs differ at one of VERIFIED_BATCHES or VERIFIED_SCALES.
        ExportError: the checker or ONNX Runtime rejects the file.
    """
    random = np.random.default_rng(seed=0)
    reference = torch_model(network)
    try:
        onnx.checker.check_model(content, full_check=True)
        exported = OnnxModel(content, name=output_path, is_exported=True)
        for batch in VERIFIED_BATCHES:
            windows = random.standard_normal((batch, *shape), dtype=np.float32)
            parity = require_parity(reference, exported, windows, tolerance)
        for scale in VERIFIED_SCALES:
            windows = random.standard_normal((7, *shape), dtype=np.float32)
            _require_at_scale(reference, exported, windows, scale, tolerance)
    except ParityError:
        raise
    # onnx and ONNX Runtime raise classes of their own for each kind of failure.
    except Exception as error:
        raise ExportError(output_path, f"{type(error).__name__}: {error}") from error
    return parity


def _require_at_scale(
    reference: Model, exported: OnnxModel, noise: Windows, scale: float, tolerance: float
) -> None:
    """Compare on scaled noise, wherever the network's own outputs are finite.

    Far from N(0, 1) a network may amplify rounding, for example in a softmax of large scores; the
    accepted difference therefore grows with the change of the network's own outputs when its
    windows are perturbed by roundings.
    """
    windows = noise * np.float32(scale)
    try:
        expected = reference(windows)
    except InvalidInputError:
        # The network itself fails on such windows, for example flat ones: nothing to compare.
        return
    perturbed = reference(windows * np.float32(1 + _PERTURBATION))
    received = exported(windows)
    compare_outputs(expected, received)
    for name, values in expected.items():
        is_finite = np.isfinite(values) & np.isfinite(perturbed[name])
        largest = float(np.abs(values[is_finite]).max(initial=0))
        rounding = _largest_difference(values, perturbed[name], is_finite)
        allowed = tolerance * max(1.0, largest) + _ROUNDINGS * rounding
        difference = _largest_difference(values, received[name], is_finite)
        # Written so that NaN fails.
        if not difference <= allowed:
            raise ParityError(
                name,
                f"they differ by up to {difference:.3g} on noise of {scale:g} times the usual "
                f"magnitude, expected at most {allowed:.3g}; a branch on values is not exported, "
                f"use torch.where",
            )


def _largest_difference(
    one: NDArray[np.float32], other: NDArray[np.float32], where: NDArray[np.bool_]
) -> float:
    difference = np.abs(one[where].astype(np.float64) - other[where].astype(np.float64))
    return float(difference.max(initial=0))


def value_reads(network: nn.Module, windows: Tensor) -> list[str]:
    """Return the lines of the network's code that convert values of its input to Python numbers.

    An exported file keeps the values read during tracing. Sizes and the network's own weights do
    not count. Lines are given as `file:line`.
    """
    reads = _Reads(windows)
    with torch.no_grad(), reads:
        network(windows)
    return list(dict.fromkeys(reads.places))


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Track the tensors that are computed from the windows, operation by operation."""

    def __init__(self, windows: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places: list[str] = []
        self._computed = WeakIdKeyDictionary()
        self._computed[windows] = True

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Run an operation, and mark its results if they depend on the windows."""
        leaves = tree_leaves((args, kwargs))
        tensors = (leaf for leaf in leaves if isinstance(leaf, Tensor))
        is_computed = any(tensor in self._computed for tensor in tensors)
        if is_computed and func is torch.ops.aten._local_scalar_dense.default:
            self.places.append(_place())
        result = func(*args, **(kwargs or {}))
        if is_computed:
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self._computed[leaf] = True
        return result


def _place() -> str:
    """Return the innermost line of the call stack outside PyTorch."""
    torch_folder = str(Path(torch.__file__).parent)
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith((torch_folder, __file__)):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
