"""The optimiser's result for the example's HybridCNNLSTM beside its peers, all on one thread.

The network is trained as the example trains it. The search evaluates on the validation part; the
agreement of directions is then counted on the test part, which it has not seen. At batch 1 all
peers are interleaved, so that a busy moment of the machine meets all: compare the ratios, not the
milliseconds. In blocks of calls a model finds its own data in the caches, as in a server that runs
one model; call by call it finds the other peers' data, as beside busy neighbours. Both are
reported, and every call counts, including the first of a block. OpenVINO runs in its own process
and environment and measures itself.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.environments import PeerUnavailableError
from benchmarks.openvino_peer import OPENVINO, openvino
from examples.eurusd.data import load_bars
from examples.eurusd.dataset import Split, make_samples, split_samples
from examples.eurusd.train import PLANS, train_candidate
from optimization.measurement.parity import compare_outputs, run_all
from optimization.measurement.timing import BLOCK, Timer, Timing, measure_timers
from optimization.measurement.windows import split_windows
from optimization.runtime import OnnxModel
from optimization.search.pareto import Goal
from optimization.search.search import Search, SearchSettings, search

WARM_UP_CALLS = 50
SEARCH_BUDGET_S = 60.0

Figures = dict[str, dict[str, float]]


def run(runs: int, budget_s: float = SEARCH_BUDGET_S) -> Figures:
    """Train, search for each goal, and measure against the peers; times in ms."""
    torch.set_num_threads(1)
    split = split_samples(make_samples(load_bars()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        candidate = train_candidate(PLANS[0], split, folder)
        content = candidate.onnx.read_bytes()
        evaluation = split_windows(
            np.ascontiguousarray(split.validation.windows), "validation part of EURUSD 2017"
        )
        found = {
            goal: search(
                content,
                candidate.onnx,
                evaluation,
                SearchSettings(goal=goal, budget_s=budget_s, threads=()),
            )
            for goal in Goal
        }
        figures = _peers(
            candidate.training.network, content, found[Goal.LATENCY], split, folder, runs
        )
        for goal, result in found.items():
            figures[f"recommended for {goal}: {result.recommended.name}"] = _goal(
                result, content, split
            )
    return figures


def _peers(
    network: nn.Module, content: bytes, found: Search, split: Split, folder: Path, runs: int
) -> Figures:
    window = split.test.windows[:1].copy()
    network = network.eval()
    compiled = torch.compile(network)
    onnx, recommended = OnnxModel(content), OnnxModel(found.chosen.content)
    tensor = torch.from_numpy(window)

    def in_torch(module: Callable[[torch.Tensor], object]) -> Timer:
        def call() -> None:
            with torch.inference_mode():
                module(tensor)

        return _timed(call)

    calls: dict[str, Timer] = {
        "PyTorch eager": in_torch(network),
        "torch.compile": in_torch(compiled),
        "ONNX Runtime FP32": _timed(lambda: onnx(window)),
        "recommended": _timed(lambda: recommended(window)),
    }
    model_path, windows_path = folder / "peer.onnx", folder / "peer.npy"
    model_path.write_bytes(content)
    np.save(windows_path, window)
    with contextlib.ExitStack() as stack:
        try:
            calls[OPENVINO] = stack.enter_context(openvino(model_path, windows_path)).run_ns
        except PeerUnavailableError as error:
            print(f"without OpenVINO: {error}")  # noqa: T201
        blocks = measure_timers(calls, 1, runs, WARM_UP_CALLS, block=BLOCK)
        call_by_call = measure_timers(calls, 1, runs, WARM_UP_CALLS, block=1)
    return {
        **_figures(blocks, f"batch 1, in blocks of {BLOCK}"),
        **_figures(call_by_call, "batch 1, call by call"),
    }


def _figures(timings: Mapping[str, Timing], how: str) -> Figures:
    ours = timings["recommended"]
    return {
        f"{how}, {name}": {
            "p50_ms": timing.median_ms,
            "p50_low_ms": timing.median_interval_ms()[0],
            "p50_high_ms": timing.median_interval_ms()[1],
            "p95_ms": timing.percentile_ms(95),
            "p99_ms": timing.percentile_ms(99),
            "max_ms": max(timing.samples_ms),
            "recommended_is_faster": timing.median_ms / ours.median_ms,
        }
        for name, timing in timings.items()
    }


def _goal(found: Search, content: bytes, split: Split) -> dict[str, float]:
    """Return the figures of the recommended file on windows that the search has not seen."""
    windows = np.ascontiguousarray(split.test.windows)
    parity = compare_outputs(
        run_all(OnnxModel(content), windows, 1),
        run_all(OnnxModel(found.chosen.content), windows, 1),
    )
    original = found.evaluated["fp32"].timings
    chosen = found.chosen.timings
    assert parity.direction_agreement is not None
    return {
        "held_out_windows": len(windows),
        "same_direction_pct": 100 * parity.direction_agreement,
        "worst_element_in_spreads": parity.max_relative_difference,
        "depends_on_batch": float(found.chosen.batch_dependence.depends),
        "times_smaller": len(content) / len(found.chosen.content),
        **{
            f"times_as_fast_batch_{batch}": original[threads, batch].median_ms / timing.median_ms
            for (threads, batch), timing in chosen.items()
        },
        **{
            f"samples_per_s_batch_{batch}": timing.throughput
            for (_, batch), timing in chosen.items()
        },
    }


def _timed(call: Callable[[], object]) -> Timer:
    def run_ns() -> int:
        began = time.perf_counter_ns()
        call()
        return time.perf_counter_ns() - began

    return run_ns
