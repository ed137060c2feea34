"""What routers and replicas export beside Serve's own metrics."""

import asyncio
import collections
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from itertools import accumulate

from ray.serve import metrics

from serve_app.data_plane.timing import TimingSection

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


def timing_histogram() -> Callable[[Mapping[TimingSection, float]], None]:
    """Return what counts the stages of a prediction, given in seconds.

    A Prometheus histogram, `ray_tradeserve_timing_ms` with the stage as a label, made of gauges.
    With Ray's own histograms each observation is replayed in Ray's agent on the node, which took a
    seventh of the requests/s of two cores.
    """
    in_bucket, sum_ms, count = (
        metrics.Gauge(
            f"tradeserve_timing_ms_{part}",
            description="Where the time of answered predictions went, in milliseconds.",
            tag_keys=tag_keys,  # type: ignore[arg-type]  # it says a tuple of one and takes any
        )
        for part, tag_keys in (
            ("bucket", ("section", "le")),
            ("sum", ("section",)),
            ("count", ("section",)),
        )
    )
    histograms = {section: SectionHistogram() for section in TimingSection}
    is_told = True

    def tell() -> None:
        nonlocal is_told
        is_told = True
        for section, histogram in histograms.items():
            for bound, below in histogram.cumulative():
                in_bucket.set(below, {"section": section.value, "le": bound})
            sum_ms.set(histogram.sum_ms, {"section": section.value})
            count.set(histogram.count, {"section": section.value})

    def observe(spent: Mapping[TimingSection, float]) -> None:
        nonlocal is_told
        for section, took_s in spent.items():
            histograms[section].observe(took_s * 1e3)
        if is_told:
            is_told = False
            _soon(tell)

    return observe


class SectionHistogram:
    """How often a stage took how long."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDARIES_MS) + 1)
        self.sum_ms = 0.0

    @property
    def count(self) -> int:
        """All observations."""
        return sum(self._counts)

    def observe(self, took_ms: float) -> None:
        """Count one that took so long."""
        self._counts[bisect_left(BOUNDARIES_MS, took_ms)] += 1
        self.sum_ms += took_ms

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Return how many took at most so long, by Prometheus' label `le`, up to +Inf."""
        bounds = [*(f"{each:g}" for each in BOUNDARIES_MS), "+Inf"]
        return zip(bounds, accumulate(self._counts), strict=True)


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
            _soon(tell)
        added[values] += amount

    return add


def _soon(tell: Callable[[], None]) -> None:
    """Call after a while, outside the request that asks for it: Serve labels by its route."""
    asyncio.get_running_loop().call_later(PERIOD_S, tell, context=Context())
