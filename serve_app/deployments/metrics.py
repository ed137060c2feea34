"""What routers and replicas export beside Serve's own metrics."""

import asyncio
import collections
from collections.abc import Callable, Mapping

from ray.serve import metrics
from ray.util.metrics import Histogram

from serve_app.stages import Stage

PERIOD_S = 1.0
"""How old what a replica counted may be in its metrics; Ray exports them less often."""

BOUNDARIES_MS = (
    0.02,
    0.05,
    0.1,
    0.2,
    0.3,
    0.5,
    0.7,
    1,
    1.5,
    2,
    3,
    5,
    7,
    10,
    20,
    50,
    100,
    500,
    2000,
)


def stage_histogram() -> Callable[[Mapping[Stage, float]], None]:
    """Return what counts the stages of a prediction, given in seconds.

    Ray exports it as `ray_tradeserve_stage_ms`, with the stage as a label; 2 us an observation.
    """
    histogram = Histogram(
        "tradeserve_stage_ms",
        description="Where the time of answered predictions went, in milliseconds.",
        boundaries=list(BOUNDARIES_MS),
        tag_keys=("stage",),
    )
    tags = {stage: {"stage": stage.value} for stage in Stage}

    def observe(spent: Mapping[Stage, float]) -> None:
        for stage, took_s in spent.items():
            histogram.observe(took_s * 1e3, tags[stage])

    return observe


def run_counter(model: str) -> Callable[[int], None]:
    """Return what counts a run of a model (`model:version`), given the number of its windows.

    `ray_tradeserve_model_windows_total` by `ray_tradeserve_model_runs_total` is the mean batch.
    Ray's histograms would not do: it exports their sums by the middle of each bucket.
    """
    add_runs = _told_in_groups("tradeserve_model_runs", "Runs of the model.", ("model",))
    add_windows = _told_in_groups(
        "tradeserve_model_windows", "Windows in all runs of the model together.", ("model",)
    )

    def count(size: int) -> None:
        add_runs((model,), 1)
        add_windows((model,), size)

    return count


def request_counter() -> Callable[[str, int], None]:
    """Return what counts a request for predictions, given its path and the answer's status.

    Ray exports it as `ray_tradeserve_requests_total`.
    """
    add = _told_in_groups(
        "tradeserve_requests", "Requests for predictions.", ("endpoint", "status")
    )
    return lambda path, status: add((path, str(status)), 1)


def _told_in_groups(
    name: str, description: str, tag_keys: tuple[str, ...]
) -> Callable[[tuple[str, ...], int], None]:
    """Return what adds to a counter, given the values of its tags.

    To tell Ray takes 30 us, and happens once a second.
    """
    counter = metrics.Counter(
        name,
        description=description,
        tag_keys=tag_keys,  # type: ignore[arg-type]  # it says a tuple of one and takes any
    )
    added: collections.Counter[tuple[str, ...]] = collections.Counter()

    def tell() -> None:
        for values, amount in added.items():
            counter.inc(amount, dict(zip(tag_keys, values, strict=True)))
        added.clear()

    def add(values: tuple[str, ...], amount: int) -> None:
        if not added:
            asyncio.get_running_loop().call_later(PERIOD_S, tell)
        added[values] += amount

    return add
