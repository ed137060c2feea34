"""The four plots of the report."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.report import drawing
from serve_app.experiments.report.drawing import (
    CONTROL,
    DASHED,
    DOTTED,
    GOOD,
    INK,
    MUTED,
    SOLID,
    TREATMENT,
)
from serve_app.experiments.report.timeline import Moment, Profit
from serve_app.experiments.statistics.histogram import quantile_ms, upper_end_ms
from serve_app.experiments.summary import VariantSummary

MOST_BARS = 60
FEWEST_BINS_PER_BAR = 3
"""The fewest bins per bar; a bin is 2 % wide, and bars of single bins would be ragged."""

CLOSE = 0.09
"""The part of the vertical axis below which two labels would overlap."""


def effect_over_time(
    definition: ExperimentDefinition,
    timeline: Sequence[Moment],
    started_at: datetime,
    final_interval: tuple[float, float] | None,
) -> Markup | None:
    """Return the difference in accuracy with its interval; None while it cannot be estimated.

    Args:
        definition: states the required improvement.
        timeline: the moments, in order of time.
        started_at: the start of the axis.
        final_interval: the interval of the analysis that the report shows, drawn as a bar at the
            end.
    """
    known = [
        (moment.time, moment.difference, moment.interval)
        for moment in timeline
        if moment.difference is not None and moment.interval is not None
    ]
    if not known:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        times = drawing.numbers([time for time, _, _ in known])
        values = [value for _, value, _ in known]
        lows = [low for _, _, (low, _) in known]
        highs = [high for _, _, (_, high) in known]
        axes.fill_between(
            times,
            lows,
            highs,
            color=TREATMENT,
            alpha=0.18,
            linewidth=0,
            label="confidence interval",
        )
        marker = "o" if len(known) == 1 else ""
        axes.plot(
            times, values, color=TREATMENT, linewidth=2, marker=marker, label="measured difference"
        )
        low, high = final_interval or (lows[-1], highs[-1])
        axes.vlines(times[-1], low, high, color=TREATMENT, linewidth=3)
        drawing.time_axis(axes, *_span(started_at, timeline))
        axes.set_ylim(_effect_limits(definition, values, lows, highs))
        _mark_limits(axes, definition)
        drawing.percent_axis(axes, signed=True)
        axes.set_ylabel("Treatment's accuracy minus control's\n(percentage points)")
        drawing.legend_above(axes)

    return drawing.draw("effect", paint)


def profit_over_time(
    control: Profit, treatment: Profit, timeline: Sequence[Moment], started_at: datetime
) -> Markup | None:
    """Return both variants' cumulative returns, over time and over predictions.

    Without outcomes, return None.
    """
    variants = [
        (control, CONTROL, DASHED, "control"),
        (treatment, TREATMENT, SOLID, "treatment"),
    ]
    if not any(variant.labelled[-1] for variant, *_ in variants):
        return None

    def paint(figure: Figure) -> None:
        over_time, by_count = figure.subplots(1, 2)
        counts = [float(variant.labelled[-1]) for variant, *_ in variants]
        most = min(counts) or max(counts)
        for variant, colour, dashes, name in variants:
            style = {"color": colour, "linestyle": dashes, "linewidth": 1.8, "label": name}
            over_time.plot(drawing.numbers(variant.times), variant.total, **style)
            seen = variant.labelled <= most
            by_count.plot(variant.labelled[seen], variant.total[seen], **style)
        drawing.time_axis(over_time, *_span(started_at, timeline))
        over_time.set_title("Over time")
        over_time.set_ylabel("Cumulative profit and loss\n(% of one stake)")
        by_count.set_title("Over equal numbers of predictions")
        by_count.set_xlabel("Predictions of the version with an outcome")
        by_count.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        by_count.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        by_count.set_xlim(0, max(1.0, 1.02 * most))
        for axes in (over_time, by_count):
            axes.axhline(0, color=INK, linewidth=0.9)
            drawing.percent_axis(axes, signed=True)
        over_time.legend(loc="best")

    return drawing.draw("profit", paint)


def latencies(control: VariantSummary, treatment: VariantSummary) -> Markup | None:
    """Return the distribution of both variants' latencies; None without a response."""
    bins = sorted({*control.latency_bins, *treatment.latency_bins})
    if not bins:
        return None
    first, last = bins[0], bins[-1]
    width = max(FEWEST_BINS_PER_BAR, math.ceil((last - first + 1) / MOST_BARS))
    bars = (last - first) // width + 1
    edges = [upper_end_ms(first - 1 + width * bar) for bar in range(bars + 1)]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for variant, colour, dashes, name in (
            (control, CONTROL, DASHED, "control"),
            (treatment, TREATMENT, SOLID, "treatment"),
        ):
            p95_ms = quantile_ms(variant.latency_bins, 0.95)
            if p95_ms is None:
                continue
            heights = _heights(variant.latency_bins, first, width, bars)
            axes.stairs(heights, edges, fill=True, color=colour, alpha=0.16)
            axes.stairs(heights, edges, color=colour, linewidth=1.6, linestyle=dashes, label=name)
            axes.axvline(
                p95_ms,
                color=colour,
                linewidth=1.2,
                linestyle=DOTTED,
                label=f"95% within {p95_ms:,.3g} ms",
            )
        axes.set_xscale("log")
        _latency_limits(axes, edges[0], edges[-1])
        axes.set_ylim(bottom=0)
        drawing.percent_axis(axes, signed=False)
        axes.set_ylabel("Share of the version's responses\n(% per bar)")
        axes.set_xlabel("Response time (ms, logarithmic)")
        axes.legend(loc="best")

    return drawing.draw("latency", paint)


def share_over_time(
    timeline: Sequence[Moment], started_at: datetime, served: str | None
) -> Markup | None:
    """Return treatment's share of the predictions and the intended share; None without any.

    Args:
        timeline: the moments, in order of time.
        started_at: the start of the axis.
        served: "bots" or "symbols" if these were assigned and are counted instead.
    """
    known = [
        (moment, moment.treatment_share)
        for moment in timeline
        if moment.treatment_share is not None
    ]
    if not known:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        times = drawing.numbers([moment.time for moment, _ in known])
        shares = [share for _, share in known]
        expected = [moment.expected_share for moment, _ in known]
        slacks = [moment.share_slack or 0.0 for moment, _ in known]
        if any(slacks):
            axes.fill_between(
                times,
                [max(0.0, share - slack) for share, slack in zip(expected, slacks, strict=True)],
                [min(1.0, share + slack) for share, slack in zip(expected, slacks, strict=True)],
                color=MUTED,
                alpha=0.18,
                linewidth=0,
                label="normal range",
            )
        marker = "o" if len(known) == 1 else ""
        axes.plot(times, expected, color=INK, linestyle=DASHED, linewidth=1.4, label="intended")
        axes.plot(times, shares, color=TREATMENT, linewidth=2, marker=marker, label="received")
        later = slice(len(known) // 3, None)
        deviations = [abs(s - e) for s, e in zip(shares[later], expected[later], strict=True)]
        room = max(0.005, 1.5 * max(deviations), 2.0 * max(slacks[later]))
        axes.set_ylim(max(0.0, min(expected) - room), min(1.0, max(expected) + room))
        drawing.time_axis(axes, *_span(started_at, timeline))
        drawing.percent_axis(axes, signed=False)
        axes.set_ylabel(f"Treatment's share of all {served or 'predictions'}\n(%)")
        drawing.legend_above(axes)

    return drawing.draw("share", paint)


def _span(started_at: datetime, timeline: Sequence[Moment]) -> tuple[datetime, datetime]:
    """Return the start and end of the time axis, which is never empty."""
    start = min([started_at, *(moment.time for moment in timeline)])
    end = max([started_at, *(moment.time for moment in timeline)])
    room = max((end - start) / 50, timedelta(seconds=5))
    return start, end + room


def _effect_limits(
    definition: ExperimentDefinition,
    values: Sequence[float],
    lows: Sequence[float],
    highs: Sequence[float],
) -> tuple[float, float]:
    """Return limits that fit the later half: the early intervals are far wider than the plot."""
    later = slice(len(values) // 2, None)
    low = min(0.0, *values[later], *lows[later])
    high = max(definition.min_accuracy_improvement, *values[later], *highs[later])
    room = 0.12 * max(high - low, 1e-3)
    return max(-1.05, low - room), min(1.05, high + room)


def _mark_limits(axes: Axes, definition: ExperimentDefinition) -> None:
    """Draw the limits that the difference is compared with, labelled beside the axis."""
    low, high = axes.get_ylim()
    wanted, drop = definition.min_accuracy_improvement, -definition.max_accuracy_drop
    marks = [(0.0, INK, SOLID, "no difference", "top")]
    if wanted:
        marks.append((wanted, GOOD, DASHED, "required", "bottom"))
    if low < drop < -CLOSE * (high - low):
        marks.append((drop, INK, DASHED, "largest drop", "center"))
    for value, colour, dashes, text, side in marks:
        axes.axhline(value, color=colour, linestyle=dashes, linewidth=1.1)
        axes.annotate(
            text,
            (1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va=side,
            color=colour,
            fontsize=9.5,
        )
    for height, side, text in (
        (0.98, "top", "\N{UPWARDS ARROW} treatment is better"),
        (0.02, "bottom", "\N{DOWNWARDS ARROW} treatment is worse"),
    ):
        axes.text(0.01, height, text, transform=axes.transAxes, va=side, color=MUTED, fontsize=9.5)


def _heights(bins: Mapping[int, int], first: int, width: int, bars: int) -> list[float]:
    """Return the share of the latencies in each bar."""
    total = sum(bins.values())
    counts = [0] * bars
    for index, count in bins.items():
        counts[(index - first) // width] += count
    return [count / total for count in counts]


def _latency_limits(axes: Axes, low_ms: float, high_ms: float) -> None:
    """Set limits at least a factor of 4 apart, so that at least one tick is labelled."""
    room = max(1.15, math.sqrt(4 * low_ms / high_ms) if high_ms < 4 * low_ms else 1.15)
    low_ms, high_ms = low_ms / room, high_ms * room
    axes.set_xlim(low_ms, high_ms)
    few = math.log10(high_ms / low_ms) < 3
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=14))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
