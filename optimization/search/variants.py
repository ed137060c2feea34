"""The files that a model could become: how each is made of the FP32 one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from optimization.graph import half_weights, optimize_graph, rowwise
from optimization.quantization.quantize import (
    DYNAMIC_OPERATORS,
    STATIC_OPERATORS,
    operators_in,
    quantize_dynamically,
    quantize_statically,
)
from optimization.runtime import GraphLevel, Windows

ORIGINAL = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to make a file."""

    name: str
    description: str
    make: Callable[[], bytes]
    """Raises OptimizationError where the model does not lend itself to it."""
    is_quantized: bool
    """Whether its answers are near the original's for windows like those it was judged on only."""


def list_variants(content: bytes, path: Path, calibration: Windows) -> Iterator[Variant]:
    """Yield the variants of an FP32 model, the plainest first.

    Quantised are nested sets of operators: recurrent layers alone, then matrix products, then
    convolutions, so that measuring shows what each adds. Every dynamic one comes by the row too.
    """
    yield Variant(
        name=ORIGINAL,
        description="the model as it is",
        make=lambda: content,
        is_quantized=False,
    )
    yield Variant(
        name="fp32-graph",
        description="graph optimised offline (extended level)",
        make=lambda: optimize_graph(content, path, GraphLevel.EXTENDED),
        is_quantized=False,
    )
    yield Variant(
        name="fp16-weights",
        description="weights kept in half precision, computed in single",
        make=lambda: half_weights(content, path),
        is_quantized=False,
    )
    for operators in _nested(content, path, DYNAMIC_OPERATORS):
        yield from _dynamic(content, path, operators)
    for operators in _nested(content, path, STATIC_OPERATORS):
        yield _static(content, path, operators, calibration)


def _dynamic(content: bytes, path: Path, operators: tuple[str, ...]) -> Iterator[Variant]:
    name = f"int8-dynamic-{_words(operators)}"
    yield Variant(
        name=name,
        description=f"INT8 {', '.join(operators)}; activations scaled by batch",
        make=lambda: quantize_dynamically(content, path, operators),
        is_quantized=True,
    )
    yield Variant(
        name=name.replace("dynamic", "rowwise"),
        description=f"INT8 {', '.join(operators)}; activations scaled by row, rows one by one",
        make=lambda: rowwise(quantize_dynamically(content, path, operators), path),
        is_quantized=True,
    )


def _static(
    content: bytes, path: Path, operators: tuple[str, ...], calibration: Windows
) -> Variant:
    return Variant(
        name=f"int8-static-{_words(operators)}",
        description=f"INT8 {', '.join(operators)}; activations scaled by calibration",
        make=lambda: quantize_statically(content, path, operators, calibration),
        is_quantized=True,
    )


_GROUPS = {"lstm": ("LSTM",), "matmul": ("MatMul", "Gemm"), "conv": ("Conv",)}
"""Operators that are quantised together, by what names them in a variant's name."""


def _nested(content: bytes, path: Path, offered: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield growing sets of the offered operators that the model has."""
    present = operators_in(content, path)
    chosen: tuple[str, ...] = ()
    for group in _GROUPS.values():
        added = tuple(each for each in group if each in present and each in offered)
        if added:
            chosen += added
            yield chosen


def _words(operators: tuple[str, ...]) -> str:
    return "-".join(
        word for word, group in _GROUPS.items() if any(each in operators for each in group)
    )
