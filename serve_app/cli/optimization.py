"""The commands about which artifact of a version serves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from registry import ModelInfo
from registry.predictors import choose_artifact
from serve_app.cli import options, tables
from serve_app.cli.connection import Folder, Registry, Server, ask
from serve_app.cli.options import AsJson, By, Name, Reason, Version

if TYPE_CHECKING:
    from optimization.search.search import Judged, Search, SearchSettings

TABLE_WIDTH = 110

GoalName = Literal["latency", "throughput", "size"]


def optimize(
    name: Name,
    version: Version,
    goal: Annotated[
        GoalName, typer.Option(help="Lowest latency at batch 1, most samples a second, or size.")
    ] = "latency",
    windows: Annotated[
        Path | None,
        typer.Option(
            help="Held-out real windows to judge by, .npy or .npz of (windows, timesteps, "
            "features). Without it the version's artifact windows.npz; without both noise, and "
            "then no INT8 file is recommended."
        ),
    ] = None,
    budget: Annotated[float, typer.Option(help="Seconds to search for.")] = 60.0,
    min_agreement: Annotated[
        float, typer.Option(help="Share of the windows whose direction must stay the same.")
    ] = 0.995,
    serving_threads: Annotated[
        int, typer.Option(help="The server's num_threads for this version; decides.")
    ] = 1,
    threads: Annotated[
        str | None, typer.Option(help="Numbers of threads to time too; all cores by default.")
    ] = None,
    batches: Annotated[
        str, typer.Option(help="Batch sizes to time; decide throughput.")
    ] = "1,8,32",
    runs: Annotated[int, typer.Option(help="Calls to time at most, of each at each size.")] = 300,
    allow_batch_dependence: Annotated[
        bool,
        typer.Option(
            "--allow-batch-dependence",
            help="Recommend also what answers a window otherwise beside other batch-mates.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help="Where to draw latency against batch size: .png, .svg or .pdf."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Search and show; change nothing in the registry.")
    ] = False,
    by: By = None,
    reason: Reason = "",
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Find the fastest or smallest file that gives the same answers, and let it serve.

    It joins the version with the evidence; what is published stays. The next deployment serves it.
    """
    with _refusals():
        from optimization import registered_versions
        from optimization.measurement.machine import this_machine
        from optimization.measurement.parity import Tolerance
        from optimization.measurement.windows import read_windows
        from optimization.progress import shown
        from optimization.search import plot as plots
        from optimization.search.evidence import summary
        from optimization.search.pareto import Goal
        from optimization.search.search import SearchSettings

        settings = SearchSettings(
            goal=Goal(goal),
            budget_s=budget,
            tolerance=Tolerance(direction_agreement=min_agreement),
            serving_threads=serving_threads,
            threads=options.numbers("--threads", threads) if threads else None,
            batches=options.numbers("--batches", batches),
            runs=runs,
            allow_batch_dependence=allow_batch_dependence,
        )
        drawn = plot or Path(f"{name}-{version}-{goal}.png")
        source = ask(
            registry, server, lambda opened: registered_versions.read_source(opened, name, version)
        )
        plots.check_plot_target(drawn)
        given = read_windows(windows, source.metadata.input_shape) if windows else None
        for difference in registered_versions.other_machine(source):
            typer.echo(
                f"warning: not comparable with the figures of the last optimisation, which were "
                f"measured on another machine; {difference}",
                err=True,
            )
        evaluation = registered_versions.evaluation_of(source, given, str(windows))
        if not evaluation.is_real:
            typer.echo(
                "warning: no real windows to judge by, so INT8 files are judged on noise and none "
                "is recommended; give held-out ones with --windows",
                err=True,
            )
        with shown(f"optimising {name}:{version}") as report:
            found = registered_versions.search_source(source, evaluation, settings, report)
        plots.draw(found, f"{name}:{version}", drawn)

        async def publish(opened: Registry) -> ModelInfo:
            return await registered_versions.publish(opened, source, found, by, reason)

        info = None if dry_run else ask(registry, server, publish)
    if as_json:
        if info is not None:
            tables.show_json(tables.fields(info))
        else:
            time = source.metadata.updated_at
            tables.show_json(summary(found, source.artifact, this_machine(), time, ""))
        return
    # A narrower terminal breaks the lines; figures cut short would tell nothing.
    console = Console(width=max(Console().width, TABLE_WIDTH))
    console.print(_table(found, f"{name}:{version} for {goal}"))
    for each in found.judged.values():
        if each.refused:
            typer.echo(f"refused: {each.variant.name}: {each.refused}")
    for skipped, why in found.skipped.items():
        typer.echo(f"not made: {skipped}: {why}")
    typer.echo(f"plot: {drawn}")
    typer.echo(f"recommended: {found.recommended.name}, {found.why}")
    if info is not None:
        typer.echo(
            f"{name}:{version} is served from {choose_artifact(info.metadata)} once deployed"
        )


def pin(
    name: Name,
    version: Version,
    artifact: Annotated[
        str | None,
        typer.Argument(help="The artifact that serves; without it model.onnx, else model.pt."),
    ] = None,
    by: By = None,
    reason: Reason = "",
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Choose the artifact that a version is served from; it is loaded and run first."""

    async def change(opened: Registry) -> ModelInfo:
        await opened.pin_artifact(name, version, artifact, by=by, reason=reason)
        return await opened.get_model(name, version)

    info = ask(registry, server, change)
    if as_json:
        tables.show_json(tables.fields(info))
    else:
        typer.echo(
            f"{name}:{version} is served from {choose_artifact(info.metadata)} once deployed"
        )


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what optimization refuses into exit code 1."""
    try:
        from optimization.errors import OptimizationError
    except ModuleNotFoundError as error:
        problem = f"{error.name} is not installed: pip install 'tradeserve[torch]'"
        typer.echo(f"error: cannot optimise, since {problem}", err=True)
        raise typer.Exit(1) from error
    try:
        yield
    except OptimizationError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _table(found: "Search", title: str) -> Table:
    """Return one row a variant, at the server's number of threads."""
    settings = found.settings
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("variant", no_wrap=True)
    for heading in ("MB", "p50 ms", "p95 ms", "times", "per s", "same", "error"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("mates", no_wrap=True)
    table.add_column("", no_wrap=True)
    front = {each.name for each in found.front}
    for name, each in found.judged.items():
        is_recommended = name == found.recommended.name
        verdict = "best" if is_recommended else "front" if name in front else ""
        agreements = [p.direction_agreement for p in each.parity.values()]
        agreement = min((a for a in agreements if a is not None), default=None)
        error = max(parity.max_relative_difference for parity in each.parity.values())
        table.add_row(
            name,
            f"{len(each.content) / 1e6:.2f}",
            *_timings(each, found.judged["fp32"], settings),
            "-" if agreement is None else f"{agreement:.1%}",
            f"{error:.1%}",
            "matter" if each.batch_mates.depends else "",
            "refused" if each.refused else verdict,
            style="bold green" if is_recommended else "dim" if each.refused else "",
        )
    table.caption = (
        f"{settings.serving_threads} thread(s), latency at batch 1, times as fast as fp32, samples "
        f"per second at the best batch; same direction as fp32 and worst error of a single "
        f"element, in spreads of its output, on {len(found.evaluation.judged)} windows of "
        f"{found.evaluation.source}; mates matter: an answer depends on what else is in the batch"
    )
    return table


def _timings(each: "Judged", original: "Judged", settings: "SearchSettings") -> list[str]:
    threads = settings.serving_threads
    if (threads, 1) not in each.timings:
        return ["-"] * 4
    timing = each.timings[threads, 1]
    throughput = max(t.throughput for (used, _), t in each.timings.items() if used == threads)
    return [
        f"{timing.median_ms:.3f}",
        f"{timing.percentile_ms(95):.3f}",
        f"{original.timings[threads, 1].median_ms / timing.median_ms:.2f}",
        f"{throughput:.0f}",
    ]
