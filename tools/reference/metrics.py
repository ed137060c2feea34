"""The page on metrics, from the table of metrics."""

from serve_app.monitoring.metrics import METRICS
from tools.reference.markdown import code, table


def page() -> str:
    """Return the page."""
    rows = [
        [
            code(metric.exported_name),
            metric.kind.value,
            ", ".join(map(code, metric.labels)),
            metric.help,
        ]
        for metric in METRICS
    ]
    return "\n".join(
        [
            "# Metrics\n",
            "Routers and replicas export these metrics on Ray's metrics port, beside Ray's and "
            "Serve's own. Ray adds labels such as `replica`. "
            "[The guide](../guides/http.md#where-the-time-goes) explains their use.\n",
            table(("Metric", "Kind", "Labels", "Meaning"), rows),
        ]
    )
