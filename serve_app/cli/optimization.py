"""The commands that select the artifact from which a version is served."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from registry import ModelInfo
from registry.api import RegistryApi
from registry.errors import RegistryError
from registry.predictors import choose_artifact
from registry.signatures import SigningKey
from serve_app.cli import parsing, tables
from serve_app.cli.connection import RegistryLocation, exit_on
from serve_app.cli.options import AsJson, Attribution, Name, SignWith, Version, with_options

if TYPE_CHECKING:
    from optimization.search.search import EvaluatedVariant, Search, SearchSettings

TABLE_WIDTH = 110

GoalName = Literal["latency", "throughput", "size"]


@with_options
def optimize(
    name: Name,
    version: Version,
    goal: Annotated[
        GoalName,
        typer.Option(help="Lowest latency at batch 1, highest throughput, or smallest size."),
    ] = "latency",
    windows: Annotated[
        Path | None,
        typer.Option(
            help="Held-out real windows for the evaluation, .npy or .npz of (windows, timesteps, "
            "features); default: the version's artifact windows.npz. Without real windows, noise "
            "is used and no INT8 file is recommended."
        ),
    ] = None,
    budget: Annotated[float, typer.Option(help="Duration of the search in seconds.")] = 60.0,
    min_agreement: Annotated[
        float, typer.Option(help="Minimum share of windows whose direction must not change.")
    ] = 0.995,
    serving_threads: Annotated[
        int,
        typer.Option(help="The server's num_threads for this version; the goal is measured at it."),
    ] = 1,
    threads: Annotated[
        str | None,
        typer.Option(help="Additional numbers of threads to measure; default: all cores."),
    ] = None,
    batches: Annotated[
        str, typer.Option(help="Batch sizes to measure; the best one determines the throughput.")
    ] = "1,8,32",
    runs: Annotated[
        int, typer.Option(help="Maximum number of timed calls per file and batch size.")
    ] = 300,
    allow_batch_dependence: Annotated[
        bool,
        typer.Option(
            "--allow-batch-dependence",
            help="Also recommend files whose outputs for a window depend on the rest of its batch.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="File for the plot of latency against batch size: .png, .svg or .pdf; default: "
            "NAME-VERSION-GOAL.png."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Search and print without changing the registry.")
    ] = False,
    sign_with: SignWith = None,
    *,
    attribution: Attribution,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Find the fastest or smallest file with the same outputs, and serve the version from it.

    The file and the evidence are added to the version, whose published files do not change. The
    next deployment serves it.
    """
    with _optimization_errors():
        from optimization import registered_versions
        from optimization.measurement.machine import this_machine
        from optimization.measurement.parity import Tolerance
        from optimization.progress import shown
        from optimization.search import plot as plots
        from optimization.search.evidence import summary
        from optimization.search.pareto import Goal
        from optimization.search.search import SearchSettings

        with exit_on(RegistryError):
            signing_key = SigningKey(sign_with) if sign_with else None
        settings = SearchSettings(
            goal=Goal(goal),
            budget_s=budget,
            tolerance=Tolerance(direction_agreement=min_agreement),
            serving_threads=serving_threads,
            threads=parsing.integers("--threads", threads) if threads else None,
            batches=parsing.integers("--batches", batches),
            runs=runs,
            allow_batch_dependence=allow_batch_dependence,
        )
        drawn = plot or Path(f"{name}-{version}-{goal}.png")
        source = location.run(
            lambda registry: registered_versions.read_source(registry, name, version)
        )
        plots.check_plot_target(drawn)
        given = registered_versions.windows_in(windows, source.metadata) if windows else None
        for difference in registered_versions.other_machine(source):
            typer.echo(
                f"warning: the figures are not comparable with those of the last optimisation, "
                f"which were measured on another machine: {difference}",
                err=True,
            )
        evaluation = registered_versions.evaluation_of(source, given, str(windows))
        if not evaluation.is_real:
            typer.echo(
                "warning: there are no real windows, so INT8 files are evaluated on noise and none "
                "is recommended; pass held-out windows with --windows",
                err=True,
            )
        with shown(f"optimising {name}:{version}") as report:
            found = registered_versions.search_source(source, evaluation, settings, report)
        plots.draw(found, f"{name}:{version}", drawn)

        async def publish(registry: RegistryApi) -> ModelInfo:
            return await registered_versions.publish(
                registry, source, found, attribution.by, attribution.reason, key=signing_key
            )

        info = None if dry_run else location.run(publish)
    if as_json:
        if info is not None:
            tables.show_json(tables.fields(info))
        else:
            time = source.metadata.updated_at
            tables.show_json(summary(found, source.artifact, this_machine(), time, ""))
        return
    # A narrower terminal breaks the lines, whereas a narrower table would truncate the figures.
    console = Console(width=max(Console().width, TABLE_WIDTH))
    console.print(_table(found, f"{name}:{version} for {goal}"))
    for candidate in found.evaluated.values():
        if candidate.refused:
            typer.echo(f"rejected: {candidate.variant.name}: {candidate.refused}")
    for skipped, reason in found.skipped.items():
        typer.echo(f"skipped: {skipped}: {reason}")
    typer.echo(f"plot: {drawn}")
    typer.echo(f"recommended: {found.recommended.name}, {found.why}")
    if info is not None:
        _report_artifact(info)


@with_options
def pin(
    name: Name,
    version: Version,
    artifact: Annotated[
        str | None,
        typer.Argument(help="Artifact to serve from; default: model.onnx, else model.pt."),
    ] = None,
    *,
    attribution: Attribution,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Select the artifact from which a version is served, after a trial run."""

    async def pinned(registry: RegistryApi) -> ModelInfo:
        await registry.pin_artifact(
            name, version, artifact, by=attribution.by, reason=attribution.reason
        )
        return await registry.get_model(name, version)

    info = location.run(pinned)
    if as_json:
        tables.show_json(tables.fields(info))
    else:
        _report_artifact(info)


def _report_artifact(info: ModelInfo) -> None:
    version = f"{info.metadata.name}:{info.metadata.version}"
    typer.echo(f"{version} is served from {choose_artifact(info.metadata)} once deployed")


@contextmanager
def _optimization_errors() -> Iterator[None]:
    """End the command with exit code 1 on an error of `optimization`, or if it cannot run here."""
    try:
        from optimization.errors import OptimizationError
    except ModuleNotFoundError as error:
        problem = f"cannot optimise: {error.name} is not installed"
        typer.echo(f"error: {problem}; run pip install 'tradeserve[torch]'", err=True)
        raise typer.Exit(1) from error
    with exit_on(OptimizationError):
        yield


def _table(found: "Search", title: str) -> Table:
    """Return one row per candidate, measured at the server's number of threads."""
    settings = found.settings
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("candidate", no_wrap=True)
    for heading in ("MB", "p50 ms", "p95 ms", "speedup", "per s", "same", "error"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("batch", no_wrap=True)
    table.add_column("", no_wrap=True)
    front = {candidate.name for candidate in found.front}
    for name, candidate in found.evaluated.items():
        is_recommended = name == found.recommended.name
        rank = "best" if is_recommended else "front" if name in front else ""
        agreements = [parity.direction_agreement for parity in candidate.parity.values()]
        agreement = min((share for share in agreements if share is not None), default=None)
        error = max(parity.max_relative_difference for parity in candidate.parity.values())
        table.add_row(
            name,
            f"{len(candidate.content) / 1e6:.2f}",
            *_timings(candidate, found.evaluated["fp32"], settings),
            "-" if agreement is None else f"{agreement:.1%}",
            f"{error:.1%}",
            "dependent" if candidate.batch_dependence.depends else "",
            "rejected" if candidate.refused else rank,
            style="bold green" if is_recommended else "dim" if candidate.refused else "",
        )
    table.caption = (
        f"{settings.serving_threads} thread(s); latency at batch 1; speedup over fp32; samples per "
        f"second at the best batch size; share of windows with the direction of fp32 and largest "
        f"error of a single element, in spreads of its output, on {len(found.evaluation.windows)} "
        f"windows of {found.evaluation.source}; dependent: the outputs for a window depend on the "
        f"rest of its batch"
    )
    return table


def _timings(
    candidate: "EvaluatedVariant", original: "EvaluatedVariant", settings: "SearchSettings"
) -> list[str]:
    threads = settings.serving_threads
    if (threads, 1) not in candidate.timings:
        return ["-"] * 4
    timing = candidate.timings[threads, 1]
    throughput = max(
        timing.throughput for (used, _), timing in candidate.timings.items() if used == threads
    )
    return [
        f"{timing.median_ms:.3f}",
        f"{timing.percentile_ms(95):.3f}",
        f"{original.timings[threads, 1].median_ms / timing.median_ms:.2f}",
        f"{throughput:.0f}",
    ]
