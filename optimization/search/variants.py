"""The variants of a model: the ways to make a file from its FP32 file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimization.graph import half_weights, optimize_graph, rowwise
from optimization.quantization.precision import has_doubles, single_precision
from optimization.quantization.quantize import (
    DYNAMIC_OPERATORS,
    STATIC_OPERATORS,
    operators_in,
    quantize_dynamically,
    quantize_statically,
)
from optimization.runtime import GraphLevel, Windows, load_graph

ORIGINAL = "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A way to make a file."""

    name: str
    description: str
    make: Callable[[], bytes]
    """Returns the content; raises OptimizationError if the model is unsuitable."""
    is_quantized: bool
    """Whether the parity of its outputs is limited to windows like those of the evaluation."""


def list_variants(content: bytes, path: Path, calibration: Windows) -> Iterator[Variant]:
    """Yield the variants of an FP32 model, starting with the simplest.

    The quantised operators form nested sets: recurrent layers, then matrix products too, then
    convolutions too, so that the measurement shows the effect of each. Each dynamic variant also
    exists row by row.
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
    is_double = has_doubles(load_graph(content, path))
    if is_double:
        yield Variant(
            name="fp32-network",
            description="single precision from the first layer on, behind the double input",
            make=lambda: single_precision(content, path),
            is_quantized=True,
        )
    yield Variant(
        name="fp16-weights",
        description="weights stored in half precision, computed in single",
        make=lambda: half_weights(single_precision(content, path), path),
        is_quantized=is_double,
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
        make=lambda: quantize_statically(
            content,
            path,
            operators,
            calibration,
            # Windows with NaN are accepted for a model that takes it as a missing value.
            accepts_missing=bool(np.isnan(calibration).any()),
        ),
        is_quantized=True,
    )


_GROUPS = {"lstm": ("LSTM",), "matmul": ("MatMul", "Gemm"), "conv": ("Conv",)}
"""The operators that are quantised together, by their word in a variant's name."""


def _nested(content: bytes, path: Path, offered: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield nested sets of the offered operators that the model has."""
    present = operators_in(content, path)
    chosen: tuple[str, ...] = ()
    for group in _GROUPS.values():
        added = tuple(operator for operator in group if operator in present & {*offered})
        if added:
            chosen += added
            yield chosen


def _words(operators: tuple[str, ...]) -> str:
    return "-".join(word for word, group in _GROUPS.items() if not {*group}.isdisjoint(operators))
