"""That an exported file gives what its network gives, and where the network looks at values."""

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
from optimization.measurement.parity import (
    Model,
    Parity,
    compare_outputs,
    require_parity,
    torch_model,
)
from optimization.runtime import OnnxModel, Windows

PROOF_BATCHES = (1, 2, 7, 32)
"""Batch sizes at which every exported file is compared with its network."""

PROOF_SCALES = (0.0, 0.01, 10.0, 1000.0)
"""Of noise, at which it is compared too: a branch on the size of a feature shows there."""

_PERTURBATION = 2.0**-20
"""Relative, of windows: a few roundings of single precision."""

_ROUNDINGS = 10.0


def verify_export(
    network: nn.Module,
    content: bytes,
    output_path: Path,
    shape: tuple[int, ...],
    tolerance: float,
) -> Parity:
    """Return how far the file is from the network at the largest batch of PROOF_BATCHES.

    Raises:
        ParityError: it gives something else, at one of the batches or PROOF_SCALES.
        ExportError: the checker or ONNX Runtime refuses it.
    """
    random = np.random.default_rng(seed=0)
    reference = torch_model(network)
    try:
        onnx.checker.check_model(content, full_check=True)
        exported = OnnxModel(content, name=output_path)
        for batch in PROOF_BATCHES:
            windows = random.standard_normal((batch, *shape), dtype=np.float32)
            parity = require_parity(reference, exported, windows, tolerance)
        for scale in PROOF_SCALES:
            windows = random.standard_normal((7, *shape), dtype=np.float32)
            _require_at_scale(reference, exported, windows, scale, tolerance)
    except ParityError:
        raise
    # onnx and ONNX Runtime raise classes of their own for each kind of refusal.
    except Exception as error:
        raise ExportError(output_path, f"{type(error).__name__}: {error}") from error
    return parity


def _require_at_scale(
    reference: Model, exported: OnnxModel, noise: Windows, scale: float, tolerance: float
) -> None:
    """Compare on scaled noise, where the network itself gives numbers.

    Far from N(0, 1) a network may amplify rounding, in a softmax of large scores for example; it
    may differ by as much as the network's own answers move when its windows are rounded anew.
    """
    windows = noise * np.float32(scale)
    try:
        expected = reference(windows)
    except InvalidInputError:
        # It refuses such windows itself, flat ones for example, so there is nothing to compare.
        return
    moved = reference(windows * np.float32(1 + _PERTURBATION))
    received = exported(windows)
    compare_outputs(expected, received)
    for name, values in expected.items():
        is_finite = np.isfinite(values) & np.isfinite(moved[name])
        largest = float(np.abs(values[is_finite]).max(initial=0))
        rounding = _farthest(values, moved[name], is_finite)
        allowed = tolerance * max(1.0, largest) + _ROUNDINGS * rounding
        difference = _farthest(values, received[name], is_finite)
        # Written so that NaN fails.
        if not difference <= allowed:
            raise ParityError(
                name,
                f"they are up to {difference:.3g} apart on noise of {scale:g} times the usual "
                f"size, expected at most {allowed:.3g}; a branch on values is not exported, use "
                f"torch.where",
            )


def _farthest(
    one: NDArray[np.float32], other: NDArray[np.float32], where: NDArray[np.bool_]
) -> float:
    difference = np.abs(one[where].astype(np.float64) - other[where].astype(np.float64))
    return float(difference.max(initial=0))


def value_reads(network: nn.Module, windows: Tensor) -> list[str]:
    """Return where the network's code turns values computed from its input into Python's.

    An exported file keeps what was read while it was traced. Sizes and the network's own weights
    do not count. Places are given as `file:line`.
    """
    reads = _Reads(windows)
    with torch.no_grad(), reads:
        network(windows)
    return list(dict.fromkeys(reads.places))


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what is computed from the windows, operation by operation."""

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
        """Run an operation and remember what comes of the windows."""
        tensors = (
            tree_leave
            for tree_leave in tree_leaves((args, kwargs))
            if isinstance(tree_leave, Tensor)
        )
        is_computed = any(tensor in self._computed for tensor in tensors)
        if is_computed and func is torch.ops.aten._local_scalar_dense.default:
            self.places.append(_place())
        result = func(*args, **(kwargs or {}))
        if is_computed:
            for each in tree_leaves(result):
                if isinstance(each, Tensor):
                    self._computed[each] = True
        return result


def _place() -> str:
    """Return the innermost line outside PyTorch."""
    torch_folder = str(Path(torch.__file__).parent)
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith((torch_folder, __file__)):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
