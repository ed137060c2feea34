"""Formulas for functions that ONNX can express but PyTorch's exporter does not support.

A file with a formula is verified against the network itself like any other.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class Formulas(TorchFunctionMode):
    """Replace functions with equal formulas while the context is active."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - the function's own result
        """Call the formula of a function, or the function itself if it has none."""
        return _FORMULAS.get(func, func)(*args, **(kwargs or {}))


def _rms_norm(
    values: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    dims = tuple(range(-len(normalized_shape), 0))
    least = torch.finfo(values.dtype).eps if eps is None else eps
    normed = values * torch.rsqrt(values.square().mean(dims, keepdim=True) + least)
    return normed if weight is None else normed * weight


def _log_sigmoid(values: Tensor) -> Tensor:
    # The exporter takes the logarithm of a sigmoid, which is zero below -100.
    return -functional.softplus(-values)


def _diff(
    values: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    parts = [part for part in (prepend, values, append) if part is not None]
    result = torch.cat(parts, dim) if len(parts) > 1 else values
    for _ in range(n):
        length = int(result.shape[dim])
        result = result.narrow(dim, 1, length - 1) - result.narrow(dim, 0, length - 1)
    return result


def _convolution(plain: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a convolution with explicit padding: ONNX Runtime does not pad a dilated one."""

    def convolve(
        values: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Tensor:
        if padding == "same":
            sizes = weight.shape[2:]
            steps = dilation if isinstance(dilation, Sequence) else [dilation] * len(sizes)
            pads: list[int] = []
            # Last dimension first, the order of pad.
            for size, step in reversed([*zip(sizes, steps, strict=True)]):
                total = int(step) * (int(size) - 1)
                pads += [total // 2, total - total // 2]
            values, padding = functional.pad(values, pads), 0
        return plain(values, weight, bias, stride, padding, dilation, groups)

    return convolve


def _adaptive_average(values: Tensor, output_size: int | Sequence[int]) -> Tensor:
    size = int(output_size if isinstance(output_size, int) else output_size[0])
    length = int(values.shape[-1])
    if length % size == 0:
        return torch.adaptive_avg_pool1d(values, [size])
    bounds = [
        (length * index // size, math.ceil(length * (index + 1) / size)) for index in range(size)
    ]
    return torch.stack([values[..., low:high].mean(-1) for low, high in bounds], -1)


_FORMULAS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.rms_norm: _rms_norm,
    functional.rms_norm: _rms_norm,
    functional.logsigmoid: _log_sigmoid,
    torch.diff: _diff,
    Tensor.diff: _diff,
    torch.expm1: lambda values: torch.exp(values) - 1,
    Tensor.expm1: lambda values: torch.exp(values) - 1,
    torch.conv1d: _convolution(torch.conv1d),
    torch.conv2d: _convolution(torch.conv2d),
    functional.adaptive_avg_pool1d: _adaptive_average,
}
