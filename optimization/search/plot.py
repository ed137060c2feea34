"""The plot of latency against batch size, one line per variant."""

import io
from pathlib import Path

from optimization.errors import InvalidInputError, OutputFileError
from optimization.files import check_target, put
from optimization.search.search import Search

FORMATS = (".png", ".svg", ".pdf")


def check_plot_target(path: Path) -> None:
    """Return if a plot can be written to `path`; called before a long search.

    Raises:
        InvalidInputError: the suffix is not one of FORMATS.
        OutputFileError: the file cannot be written, or matplotlib is not installed.
    """
    if path.suffix not in FORMATS:
        raise InvalidInputError("plot", f"a file named {' or '.join(FORMATS)}", str(path))
    check_target(path)
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        problem = "matplotlib is not installed; run pip install 'tradeserve[torch]'"
        raise OutputFileError(path, problem) from None


def draw(found: Search, title: str, path: Path) -> None:
    """Draw medians with their 95 % intervals by batch size, at the server's number of threads.

    The recommended variant has a thick line; refused ones have none.

    Raises:
        OutputFileError: the file cannot be written.
    """
    # The object interface: pyplot would look for a display and keep global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    threads = found.settings.serving_threads
    markers = "osv^D<>Pp*hX"
    for number, (name, variant) in enumerate(found.evaluated.items()):
        timings = sorted(
            (batch, timing) for (used, batch), timing in variant.timings.items() if used == threads
        )
        if not timings:
            continue
        batches = [batch for batch, _ in timings]
        medians = [timing.median_ms for _, timing in timings]
        intervals = [timing.median_interval_ms() for _, timing in timings]
        is_recommended = name == found.recommended.name
        axes.errorbar(
            batches,
            medians,
            yerr=(
                [median - low for median, (low, _) in zip(medians, intervals, strict=True)],
                [high - median for median, (_, high) in zip(medians, intervals, strict=True)],
            ),
            label=f"{name} (recommended)" if is_recommended else name,
            linewidth=3 if is_recommended else 1.2,
            marker=markers[number % len(markers)],
            color=f"C{number % 10}" if number < 10 else f"{0.25 + 0.1 * (number - 10):.2f}",
            markersize=5,
            capsize=2,
            zorder=3 if is_recommended else 2,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
    axes.set_xticks(
        sorted({batch for variant in found.evaluated.values() for _, batch in variant.timings})
    )
    axes.set_xlabel("batch size")
    axes.set_ylabel(f"latency in ms, median, {threads} thread{'s' * (threads > 1)}")
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(fontsize="small")
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=150)
    put(path, content.getvalue())
