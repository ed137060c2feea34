"""The table of metrics that routers and replicas export in addition to Serve's own. Pure.

`serve_app.deployments.telemetry` exports them through Ray, and a test compares the documentation
with this table.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate


class MetricKind(StrEnum):
    """The type of a metric, as Prometheus defines it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The definition of one metric."""

    name: str
    """The name within the system; see `exported_name`."""
    kind: MetricKind
    help: str
    """The description that Prometheus shows."""
    labels: tuple[str, ...]
    """The names of its labels. Ray adds its own, such as `replica`; a histogram also has `le`."""

    @property
    def exported_name(self) -> str:
        """The name that a Prometheus server scrapes: Ray adds a prefix, to counters a suffix.

        >>> REQUESTS.exported_name
        'ray_tradeserve_requests_total'
        """
        return f"ray_{self.name}_total" if self.kind is MetricKind.COUNTER else f"ray_{self.name}"


TIMING = Metric(
    name="tradeserve_timing_ms",
    kind=MetricKind.HISTOGRAM,
    help="Time that served predictions spent in each timing section, in milliseconds.",
    labels=("section",),
)

MODEL_RUNS = Metric(
    name="tradeserve_model_runs",
    kind=MetricKind.COUNTER,
    help="Runs of the model, one per batch.",
    labels=("model",),
)

MODEL_WINDOWS = Metric(
    name="tradeserve_model_windows",
    kind=MetricKind.COUNTER,
    help="Windows in all runs of the model; divided by the runs, the mean batch size.",
    labels=("model",),
)

REQUESTS = Metric(
    name="tradeserve_requests",
    kind=MetricKind.COUNTER,
    help="Requests for predictions.",
    labels=("endpoint", "status"),
)

BARS = Metric(
    name="tradeserve_bars",
    kind=MetricKind.COUNTER,
    help="Bars that were pushed, by result: accepted, duplicate, revised or rejected.",
    labels=("result",),
)

BAR_AGE = Metric(
    name="tradeserve_bar_age_seconds",
    kind=MetricKind.GAUGE,
    help="Time since the end of the last bar of each symbol and timeframe, in seconds.",
    labels=("symbol", "timeframe"),
)

METRICS = (TIMING, MODEL_RUNS, MODEL_WINDOWS, REQUESTS, BARS, BAR_AGE)
"""Every metric that the system exports itself."""

TIMING_BOUNDARIES_MS = (
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
"""The upper bounds of the buckets of TIMING, each included; a last bucket has no bound."""


class CumulativeHistogram:
    """Counts of observations by bucket, as a Prometheus histogram exports them.

    >>> histogram = CumulativeHistogram([1, 5])
    >>> for value in (0.5, 1, 7):
    ...     histogram.observe(value)
    >>> list(histogram.cumulative())
    [('1', 2), ('5', 2), ('+Inf', 3)]
    """

    def __init__(self, boundaries: Sequence[float]) -> None:
        self._boundaries = boundaries
        self._counts = [0] * (len(boundaries) + 1)
        self.sum = 0.0
        """The sum of all observations."""

    @property
    def count(self) -> int:
        """The number of observations."""
        return sum(self._counts)

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._boundaries, value)] += 1
        self.sum += value

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Return the number of observations up to each bound, by the label `le`, up to +Inf."""
        bounds = [*(f"{boundary:g}" for boundary in self._boundaries), "+Inf"]
        return zip(bounds, accumulate(self._counts), strict=True)
