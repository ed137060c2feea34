"""The results of ONNXOptimizer's methods, by their keys. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimization.measurement.parity import compare_outputs
from optimization.measurement.timing import LEAST_GAIN, Timing
from optimization.runtime import Outputs

_FIGURES = (
    *("latency_ms", "latency_std_ms", "p50_ms", "p50_low_ms", "p50_high_ms"),
    *("p95_ms", "p99_ms", "min_ms", "max_ms", "throughput"),
)


def figures(timing: Timing) -> dict[str, float]:
    """Return the result of `benchmark`."""
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
    """Return the figures of a timing; without one, NaN beside the problem."""
    if timing is not None:
        return figures(timing)
    return {**dict.fromkeys(_FIGURES, math.nan), "error": problem}


def gains(
    timings: Mapping[str, Timing], sizes_bytes: Mapping[str, int], errors: Mapping[str, str]
) -> dict[str, Any]:
    """Return the gains of the INT8 file over the FP32 file; NaN if either is missing."""
    if not {"onnx_fp32", "onnx_int8"} <= timings.keys():
        keys = ("speedup", "latency_reduction_pct", "size_reduction_pct")
        return {**dict.fromkeys(keys, math.nan), "error": "; ".join(errors.values())}
    fp32_ms, int8_ms = timings["onnx_fp32"].mean_ms, timings["onnx_int8"].mean_ms
    return {
        "speedup": fp32_ms / int8_ms,
        "latency_reduction_pct": 100 * (1 - int8_ms / fp32_ms),
        "size_reduction_pct": 100 * (1 - sizes_bytes["onnx_int8"] / sizes_bytes["onnx_fp32"]),
    }


def not_faster(timings: Mapping[str, Timing]) -> str | None:
    """Return a warning if the INT8 file is not faster than the FP32 file, else None."""
    if not {"onnx_fp32", "onnx_int8"} <= timings.keys():
        return None
    gain = timings["onnx_fp32"].median_ms / timings["onnx_int8"].median_ms
    if gain > LEAST_GAIN:
        return None
    return (
        f"the INT8 file is {gain:.2f} times as fast as the FP32 file on this machine; use it only "
        f"for its size"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The outputs of a network and of its file for the same windows, and their latencies."""

    expected: Outputs
    received: Outputs
    pytorch: Timing
    onnx: Timing

    def as_json(self, tolerance: float) -> dict[str, Any]:
        """Return the result of `compare_pytorch_onnx`."""
        parity = compare_outputs(self.expected, self.received)
        difference = np.abs(_elements(self.expected) - _elements(self.received))
        return {
            "numerical_difference": {
                "mean": float(difference.mean()),
                "max": float(difference.max()),
                "std": float(difference.std()),
            },
            "pytorch_latency_ms": _mean_and_p95(self.pytorch),
            "onnx_latency_ms": _mean_and_p95(self.onnx),
            "speedup": self.pytorch.mean_ms / self.onnx.mean_ms,
            # Written so that NaN does not match.
            "outputs_match": all(
                largest <= tolerance * max(1.0, parity.largest[output])
                for output, largest in parity.max_abs_difference.items()
            ),
            "direction_agreement": parity.direction_agreement,
        }


def _mean_and_p95(timing: Timing) -> dict[str, float]:
    return {"mean": timing.mean_ms, "p95": timing.percentile_ms(95)}


def _elements(outputs: Outputs) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the elements of all outputs in one row."""
    return np.concatenate([output.astype(np.float64).ravel() for output in outputs.values()])


def sizes(files: Mapping[str, Path]) -> dict[str, int]:
    """Return the size of each file in bytes."""
    return {name: path.stat().st_size for name, path in files.items()}
