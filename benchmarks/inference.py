"""The latency of a version on ONNX Runtime and on PyTorch eager, both on one thread.

The two are interleaved call by call on the same windows, so that a busy moment of the machine meets
both; compare the ratio, not the milliseconds.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from optimization.export.exporter import export_onnx
from optimization.networks import torch_model
from optimization.runtime import Model, OnnxModel
from registry.architectures import HybridCNNLSTM

SHAPE = (60, 110)
BATCHES = (1, 8, 32)
WARM_UP_CALLS = 20


def run(runs: int) -> dict[str, dict[str, float]]:
    """Return p50 and p95 in ms of both, and their ratio, by batch size."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = HybridCNNLSTM().eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(network, path, SHAPE)
        models: dict[str, Model] = {"onnx": OnnxModel(path), "torch": torch_model(network)}
    results = {}
    for batch in BATCHES:
        windows = np.random.default_rng(0).standard_normal((batch, *SHAPE)).astype(np.float32)
        times_ms: dict[str, list[float]] = {name: [] for name in models}
        for call in range(WARM_UP_CALLS + runs):
            for name, model in models.items():
                began = time.perf_counter()
                model(windows)
                if call >= WARM_UP_CALLS:
                    times_ms[name].append((time.perf_counter() - began) * 1e3)
        p50 = {name: statistics.median(values) for name, values in times_ms.items()}
        results[f"batch {batch}"] = {
            "onnx_p50_ms": p50["onnx"],
            "onnx_p95_ms": float(np.percentile(times_ms["onnx"], 95)),
            "torch_p50_ms": p50["torch"],
            "torch_p95_ms": float(np.percentile(times_ms["torch"], 95)),
            "speedup": p50["torch"] / p50["onnx"],
        }
    return results
