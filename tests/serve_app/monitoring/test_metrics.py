"""The table of metrics is consistent, and the documentation lists it."""

import re

import pytest

from serve_app.monitoring.metrics import METRICS, CumulativeHistogram, MetricKind
from testkit.paths import ROOT

PREFIX = "ray_tradeserve_"


def documented_metrics():
    """Return the names of the system's metrics in each page of the documentation."""
    pages = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")]
    return {
        page.relative_to(ROOT).as_posix(): set(re.findall(rf"{PREFIX}\w+", page.read_text()))
        for page in pages
    }


def test_names_are_unique_and_prefixed():
    names = [metric.exported_name for metric in METRICS]
    assert len(names) == len(set(names))
    assert all(name.startswith(PREFIX) for name in names)


def test_pages_name_only_exported_metrics():
    exported = {metric.exported_name for metric in METRICS}
    for page, names in documented_metrics().items():
        assert names <= exported, page


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_the_http_guide_lists_every_metric(metric):
    """A row of its table names the metric, its kind if it is a histogram, and its labels."""
    page = (ROOT / "docs" / "guides" / "http.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    (row,) = [row for row in rows if f"`{metric.exported_name}`" in row]
    assert all(f"`{label}`" in row for label in metric.labels)
    assert ("histogram" in row) is (metric.kind is MetricKind.HISTOGRAM)


def test_a_boundary_belongs_to_its_bucket():
    histogram = CumulativeHistogram([1, 5])
    for value in (1, 5, 6):
        histogram.observe(value)
    assert list(histogram.cumulative()) == [("1", 1), ("5", 2), ("+Inf", 3)]
    assert (histogram.count, histogram.sum) == (3, 12)
