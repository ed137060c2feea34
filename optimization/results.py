"""What the methods of ONNXOptimizer return, by their keys. Pure."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optimization.measurement.parity import Outputs, compare_outputs
from optimization.measurement.timing import LEAST_GAIN, Timing
from optimization.operations import elements

_FIGURES = (
    *("latency_ms", "latency_std_ms", "p50_ms", "p50_low_ms", "p50_high_ms"),
    *("p95_ms", "p99_ms", "min_ms", "max_ms", "throughput"),
)


def figures(timing: Timing) -> dict[str, float]:
    """Return what `benchmark` returns."""
    low, high = timing.median_interval_ms()
    return {
        "latency_ms": timing.mean_ms,
        "latency_std_ms": timing.std_ms,
        "p50_ms": timing.median_ms,
        "p50_low_ms": low,
        "p50_high_ms": high,
        "p95_ms": timing.percentile_ms(95),
        "p99_ms": timing.percentile_ms(99),
        "min_ms": min(timing.samples_ms),
        "max_ms": max(timing.samples_ms),
        "throughput": timing.throughput,
    }


def figures_or(timing: Timing | None, problem: str) -> dict[str, Any]:
    """Return figures, NaN beside the problem where there are none."""
    if timing is not None:
        return figures(timing)
    return {**dict.fromkeys(_FIGURES, math.nan), "error": problem}


def gains(
    timings: Mapping[str, Timing], sizes_bytes: Mapping[str, int], errors: Mapping[str, str]
) -> dict[str, Any]:
    """Return how much better the INT8 file is than the FP32 one, NaN where one is missing."""
    if not {"onnx_fp32", "onnx_int8"} <= timings.keys():
        keys = ("speedup", "latency_reduction_pct", "size_reduction_pct")
        return {**dict.fromkeys(keys, math.nan), "error": "; ".join(errors.values())}
    fp32_ms, int8_ms = timings["onnx_fp32"].mean_ms, timings["onnx_int8"].mean_ms
    return {
        "speedup": fp32_ms / int8_ms,
        "latency_reduction_pct": 100 * (1 - int8_ms / fp32_ms),
        "size_reduction_pct": 100 * (1 - sizes_bytes["onnx_int8"] / sizes_bytes["onnx_fp32"]),
    }


def slower(timings: Mapping[str, Timing]) -> str | None:
    """Return a warning where the INT8 file is not the faster one; None where it is."""
    if not {"onnx_fp32", "onnx_int8"} <= timings.keys():
        return None
    gain = timings["onnx_fp32"].median_ms / timings["onnx_int8"].median_ms
    if gain > LEAST_GAIN:
        return None
    return (
        f"the INT8 file is {gain:.2f} times as fast as the FP32 one on this machine: take it for "
        f"its size alone"
    )


def comparison(
    expected: Outputs, received: Outputs, timings: Mapping[str, Timing], tolerance: float
) -> dict[str, Any]:
    """Return what `compare_pytorch_onnx` returns."""
    parity = compare_outputs(expected, received)
    difference = np.abs(elements(expected) - elements(received))
    pytorch, onnx = timings["pytorch"], timings["onnx"]
    return {
        "numerical_difference": {
            "mean": float(difference.mean()),
            "max": float(difference.max()),
            "std": float(difference.std()),
        },
        "pytorch_latency_ms": {"mean": pytorch.mean_ms, "p95": pytorch.percentile_ms(95)},
        "onnx_latency_ms": {"mean": onnx.mean_ms, "p95": onnx.percentile_ms(95)},
        "speedup": pytorch.mean_ms / onnx.mean_ms,
        # Written so that NaN does not match.
        "outputs_match": all(
            each <= tolerance * max(1.0, parity.largest[output])
            for output, each in parity.max_abs_difference.items()
        ),
        "direction_agreement": parity.direction_agreement,
    }


def sizes(files: Mapping[str, Path]) -> dict[str, int]:
    """Return the sizes of files in bytes."""
    return {name: path.stat().st_size for name, path in files.items()}
