"""The report on an experiment: one HTML file for someone who knows no statistics.

It needs matplotlib and Jinja2, tradeserve[report], which are imported when a report is made.
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
    """Return the report as one HTML document that needs nothing else: no network, no JavaScript.

    The same arguments give the same text. Verdict and figures are those of `final_report` once the
    experiment has ended, until then those of an analysis made now.

    Args:
        experiment: what was compared, and how it ended.
        history: what happened to it, the oldest first.
        blocks: its summaries, in any order, each block once.
        now: the present, with its time zone; the report is dated so.

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
