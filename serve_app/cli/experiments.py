"""The commands on experiments, `modelctl experiment …`, over HTTP as a bot calls the server."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from serve_app.cli import parsing, tables
from serve_app.cli.connection import ServerLocation, exit_on
from serve_app.cli.options import AsJson, with_options
from serve_app.client import ModelClient

app = typer.Typer(help="Compare two versions on live requests.", no_args_is_help=True)

Experiment = Annotated[str, typer.Argument(help="Name of the experiment.")]


@app.command()
@with_options
def create(
    experiment: Experiment,
    model: Annotated[str, typer.Argument(help="Model whose requests are split.")],
    control: Annotated[str, typer.Argument(help="Version that serves these requests now.")],
    treatment: Annotated[str, typer.Argument(help="Version to compare with control.")],
    traffic: Annotated[
        float, typer.Option(help="Share of the requests for treatment, from 0 to 1.")
    ] = 0.1,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Additional field, NAME=JSON, for example duration_hours=48; repeatable; the "
            "guide to experiments lists the fields.",
        ),
    ] = None,
    *,
    server: ServerLocation,
    as_json: AsJson = False,
) -> None:
    """Load both versions, then split the requests of the model between them."""
    settings = parsing.json_pairs("--set", setting)

    async def start(client: ModelClient) -> None:
        await client.create_ab_test(
            experiment, model, control, model, treatment, traffic_split=1 - traffic, **settings
        )

    server.run_command(start)
    if as_json:
        tables.show_json({"status": "success", "experiment_id": experiment})
    else:
        typer.echo(f"{experiment} runs: {model}:{control} against {model}:{treatment}")


@app.command(name="list")
@with_options
def list_all(*, server: ServerLocation, as_json: AsJson = False) -> None:
    """List every experiment, oldest first."""
    experiments = server.run(lambda client: client.list_ab_tests())
    if as_json:
        tables.show_json(experiments)
    elif experiments:
        tables.show(tables.experiments_table(experiments))
    else:
        typer.echo(f"no experiments at {server}")


@app.command()
@with_options
def show(experiment: Experiment, *, server: ServerLocation, as_json: AsJson = False) -> None:
    """Show the analysis so far; calling it often does not bias the verdict."""

    async def analysis(client: ModelClient) -> dict[str, Any]:
        return _received(await client.get_ab_test_analysis(experiment))

    _report(server.run(analysis), as_json)


@app.command()
@with_options
def stop(experiment: Experiment, *, server: ServerLocation, as_json: AsJson = False) -> None:
    """Stop an experiment, after which production serves every request of its model."""

    async def final_analysis(client: ModelClient) -> dict[str, Any]:
        return _received(await client.stop_ab_test(experiment))

    _report(server.run_command(final_analysis), as_json)


@app.command()
@with_options
def report(
    experiment: Experiment,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; default: EXPERIMENT.html."),
    ] = None,
    *,
    server: ServerLocation,
) -> None:
    """Write an HTML report on an experiment for readers without statistics."""
    # Drawing requires packages that a machine without the extra `report` does not have.
    from serve_app.experiments.evidence import ExperimentEvidence
    from serve_app.experiments.report import render_report
    from serve_app.experiments.store_errors import MissingPackageError

    async def evidence_of(client: ModelClient) -> dict[str, Any]:
        return _received(await client.get_ab_test_evidence(experiment))

    document = server.run(evidence_of)
    with exit_on(MissingPackageError, OSError):
        try:
            evidence = ExperimentEvidence.from_document(document)
            page = render_report(
                evidence.experiment, evidence.history, evidence.blocks, datetime.now(UTC)
            )
        except (KeyError, TypeError, ValueError) as error:
            problem = f"the evidence does not match this release of modelctl: {error!r}"
            typer.echo(f"error: {problem}; use the modelctl of the server's release", err=True)
            raise typer.Exit(1) from error
        path = output or Path(f"{evidence.experiment.definition.experiment_id}.html")
        path.write_text(page, encoding="utf-8")
    typer.echo(f"{path} is written")


def _received(response: dict[str, Any] | None) -> dict[str, Any]:
    assert response is not None, "the client raises instead"
    return response


def _report(analysis: dict[str, Any], as_json: bool) -> None:
    if as_json:
        tables.show_json(analysis)
        return
    tables.show(tables.analysis_table(analysis))
    typer.echo(f"{analysis['status']}: {analysis['recommendation']['action']}")
    for reason in analysis["recommendation"]["reasons"]:
        typer.echo(f"  {reason}")
