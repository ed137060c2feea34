"""The report on an experiment: one HTML file for readers without a background in statistics.

It requires matplotlib and Jinja2 (`tradeserve[report]`), which are imported on the first report.
"""

from collections.abc import Sequence
from datetime import datetime

from serve_app.experiments.blocks import Block
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.store_errors import MissingPackageError


def render_report(
    experiment: StoredExperiment,
    history: Sequence[HistoryEntry],
    blocks: Sequence[Block],
    now: datetime,
) -> str:
    """Return the report as a self-contained HTML document, without network access or JavaScript.

    The result depends on the arguments only. The verdict and the figures of an ended experiment are
    those of its `final_report`; those of a running one come from an analysis of `blocks`.

    Args:
        experiment: the experiment to report on.
        history: its history, oldest entry first.
        blocks: its summaries, in any order, each block once.
        now: the time of the report, with a time zone.

    Raises:
        MissingPackageError: matplotlib or Jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "the report on an experiment", "matplotlib or Jinja2", "report"
        ) from error
    from serve_app.experiments.report.page import render_page

    return render_page(experiment, history, blocks, now)


__all__ = ["render_report"]
