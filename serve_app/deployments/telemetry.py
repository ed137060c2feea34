"""Exports the metrics of `serve_app.monitoring.metrics` through Ray."""

import asyncio
import collections
from collections.abc import Callable, Mapping
from contextvars import Context

from ray.serve import metrics

from serve_app.data_plane.timing import TimingSection
from serve_app.monitoring.metrics import (
    BAR_AGE,
    BARS,
    MODEL_RUNS,
    MODEL_WINDOWS,
    REQUESTS,
    TIMING,
    TIMING_BOUNDARIES_MS,
    CumulativeHistogram,
    Metric,
)

PERIOD_S = 1.0
"""Period at which counts are passed to Ray, which exports them less often."""

RENEWAL_PERIOD_S = 5.0
"""Period at which unchanged gauges are set again. Ray drops a gauge that was not set for two of its
report periods of 10 s, as if the process had died."""


def timing_histogram() -> Callable[[Mapping[TimingSection, float]], None]:
    """Return a function that records the timing sections of a prediction, given in seconds.

    TIMING is exported as a Prometheus histogram made of gauges. Ray's own histograms replay every
    observation in Ray's agent on the node, which cost a seventh of the requests/s of two cores.
    """
    buckets, sums, counts = (
        metrics.Gauge(
            f"{TIMING.name}_{part}",
            description=TIMING.help,
            tag_keys=labels,  # type: ignore[arg-type]  # declared as a tuple of one, takes any
        )
        for part, labels in (
            ("bucket", (*TIMING.labels, "le")),
            ("sum", TIMING.labels),
            ("count", TIMING.labels),
        )
    )
    histograms = {section: CumulativeHistogram(TIMING_BOUNDARIES_MS) for section in TimingSection}
    is_scheduled = False
    renewal: asyncio.TimerHandle | None = None

    def export() -> None:
        nonlocal is_scheduled, renewal
        is_scheduled = False
        if renewal is not None:
            renewal.cancel()
        renewal = _schedule(export, RENEWAL_PERIOD_S)
        for section, histogram in histograms.items():
            labels = {"section": section.value}
            for bound, count in histogram.cumulative():
                buckets.set(count, {**labels, "le": bound})
            sums.set(histogram.sum, labels)
            counts.set(histogram.count, labels)

    def observe(spent: Mapping[TimingSection, float]) -> None:
        nonlocal is_scheduled
        for section, took_s in spent.items():
            histograms[section].observe(took_s * 1e3)
        if not is_scheduled:
            is_scheduled = True
            _schedule(export, PERIOD_S)

    return observe


def run_counter(model: str) -> Callable[[int], None]:
    """Return a function that counts a run of a model (`model:version`), given its windows.

    The mean batch size is MODEL_WINDOWS by MODEL_RUNS. Ray's histograms are no replacement: Ray
    exports their sums by the middle of each bucket.
    """
    add_runs, add_windows = _buffered_counter(MODEL_RUNS), _buffered_counter(MODEL_WINDOWS)

    def count(size: int) -> None:
        add_runs((model,), 1)
        add_windows((model,), size)

    return count


def request_counter() -> Callable[[str, int], None]:
    """Return a function that counts a request in REQUESTS, given its path and response status."""
    add = _buffered_counter(REQUESTS)
    return lambda path, status: add((path, str(status)), 1)


def bar_counter() -> Callable[[str, int], None]:
    """Return a function that counts bars in BARS, given their result and their number."""
    add = _buffered_counter(BARS)

    def count(result: str, bars: int) -> None:
        if bars:  # Ray's counter rejects 0
            add((result,), bars)

    return count


def bar_age_gauge() -> Callable[[str, str, float], None]:
    """Return a function that sets BAR_AGE, given symbol, timeframe and seconds.

    The caller repeats it every RENEWAL_PERIOD_S.
    """
    gauge = metrics.Gauge(
        BAR_AGE.name,
        description=BAR_AGE.help,
        tag_keys=BAR_AGE.labels,  # type: ignore[arg-type]  # declared as a tuple of one, takes any
    )
    labels = BAR_AGE.labels
    return lambda *values: gauge.set(values[-1], dict(zip(labels, values[:-1], strict=True)))


def _buffered_counter(metric: Metric) -> Callable[[tuple[str, ...], int], None]:
    """Return a function that adds to a counter, given the values of its labels.

    A call of Ray's counter takes 30 us, so it happens once per second.
    """
    counter = metrics.Counter(
        metric.name,
        description=metric.help,
        tag_keys=metric.labels,  # type: ignore[arg-type]  # declared as a tuple of one, takes any
    )
    pending: collections.Counter[tuple[str, ...]] = collections.Counter()

    def export() -> None:
        for values, amount in pending.items():
            counter.inc(amount, dict(zip(metric.labels, values, strict=True)))
        pending.clear()

    def add(values: tuple[str, ...], amount: int) -> None:
        if not pending:
            _schedule(export, PERIOD_S)
        pending[values] += amount

    return add


def _schedule(export: Callable[[], None], delay_s: float) -> asyncio.TimerHandle:
    """Call `export` later, outside the context of a request: Serve labels metrics by its route."""
    return asyncio.get_running_loop().call_later(delay_s, export, context=Context())
