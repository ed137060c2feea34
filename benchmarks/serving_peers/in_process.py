"""The model without a server: the lower bound of every server's latency."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving_peers.requests import windows
from optimization.runtime import OnnxModel

WARM_UP_CALLS = 50
CALLS = 1000


@dataclass(frozen=True, slots=True)
class Bare:
    """The latency of one run of the model, on one window and one thread."""

    p50_ms: float
    p95_ms: float


def run_bare(model: Path) -> Bare:
    """Run the model repeatedly in this process."""
    run = OnnxModel(model)
    batch = windows(1)[0].astype(np.float32)[np.newaxis]
    took_ms = []
    for call in range(WARM_UP_CALLS + CALLS):
        began_s = time.perf_counter()
        run(batch)
        if call >= WARM_UP_CALLS:
            took_ms.append((time.perf_counter() - began_s) * 1e3)
    return Bare(float(np.percentile(took_ms, 50)), float(np.percentile(took_ms, 95)))
