"""Draws figures as inline SVG, deterministically; the style sheet of the page sets the colours.

Text remains text, so that screen readers, search and the typeface of the page apply to it.
"""

import io
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from threading import Lock

from markupsafe import Markup
from matplotlib import dates, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Okabe and Ito's blue and vermilion, which colour-blind readers can distinguish; the variants also
# differ in dashes. The page replaces each colour with a variable, which is lighter in dark mode.
CONTROL = "#0072b2"
TREATMENT = "#d55e00"
GOOD = "#00785a"
INK = "#1d2430"
MUTED = "#5c6675"
LINE = "#d9dee6"

_VARIABLES = {
    CONTROL: "--control",
    TREATMENT: "--treatment",
    GOOD: "--good",
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
}

Dashes = str | tuple[float, tuple[float, ...]]
"""Dashes in matplotlib's format: offset, then the lengths of dash and gap in points."""

SOLID: Dashes = "solid"
DASHED: Dashes = (0, (5, 2))
DOTTED: Dashes = (0, (1, 1.5))

_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titlecolor": INK,
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}

_alone = Lock()
"""Serialises drawing: each figure changes and restores matplotlib's global settings."""

WIDTH, HEIGHT = 9.2, 3.7
"""The size of a figure in inches; the page scales it to its own width."""


def draw(name: str, paint: Callable[[Figure], None]) -> Markup:
    """Return a figure as an SVG element.

    Args:
        name: the prefix of the figure's ids, unique on the page.
        paint: draws on the empty figure.
    """
    written = io.StringIO()
    with _alone, style.context(["default", {**_SETTINGS, "svg.hashsalt": name}]):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        paint(figure)
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", metadata=no_metadata)
    return Markup(_inline(written.getvalue(), name))  # noqa: S704 - matplotlib escapes text


def _inline(svg: str, name: str) -> str:
    """Return the SVG as an element of an HTML page: no prologue, no namespaces, prefixed ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' (xmlns(:\w+)?|width|height|version)="[^"]*"', "", svg, count=5)
    svg = svg.replace(' id="', f' id="{name}-').replace("url(#", f"url(#{name}-")
    svg = svg.replace('xlink:href="#', f'href="#{name}-')
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(f": {colour}", f": var({variable})")
    return svg.replace("<svg", '<svg aria-hidden="true"', 1)


def time_axis(axes: Axes, start: datetime, end: datetime) -> None:
    """Set the horizontal axis to the times from start to end, in UTC."""
    axes.set_xlim(dates.date2num(start), dates.date2num(end))
    locator = dates.AutoDateLocator(tz=UTC, minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        dates.ConciseDateFormatter(
            locator,
            tz=UTC,
            formats=["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"],
            zero_formats=["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
            show_offset=False,
        )
    )
    axes.set_xlabel(f"Time (UTC), from {start.day} {start:%b %Y}")


def legend_above(axes: Axes) -> None:
    """Place the legend above the axes, where it covers no data."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.2, borderpad=0.2
    )


def numbers(times: Sequence[datetime]) -> list[float]:
    """Return times as the numbers of the time axis."""
    return [float(dates.date2num(time)) for time in times]


def percent_axis(axes: Axes, *, signed: bool) -> None:
    """Label the vertical axis, whose values are fractions, in per cent."""
    form = "{:+.6g}%" if signed else "{:.6g}%"

    def label(value: float, _: int | None) -> str:
        # Rounding may move the tick at 0.
        text = form.format(round(100 * value, 9) + 0.0)
        return ("0%" if text == "+0%" else text).replace("-", "\N{MINUS SIGN}")

    axes.yaxis.set_major_formatter(FuncFormatter(label))
