"""The commands about experiments: `modelctl experiment …`, over HTTP as a bot does."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from serve_app.cli import options, tables
from serve_app.cli.options import AsJson
from serve_app.cli.server import Url, ask_server
from serve_app.client import DEFAULT_SERVER_URL, ModelClient

app = typer.Typer(help="Compare two versions on live requests.", no_args_is_help=True)

Experiment = Annotated[str, typer.Argument(help="The experiment's name.")]


@app.command()
def create(
    experiment: Experiment,
    model: Annotated[str, typer.Argument(help="The model whose requests are divided.")],
    control: Annotated[str, typer.Argument(help="The version that answers them at present.")],
    treatment: Annotated[str, typer.Argument(help="The version that is tried.")],
    traffic: Annotated[
        float, typer.Option(help="Treatment's share of the requests, from 0 to 1.")
    ] = 0.1,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A further field, NAME=JSON, such as duration_hours=48; see the docs."
        ),
    ] = None,
    url: Url = DEFAULT_SERVER_URL,
    as_json: AsJson = False,
) -> None:
    """Load both versions, then divide the model's requests between them."""
    settings = options.json_pairs("--set", setting)

    async def begin(client: ModelClient) -> None:
        await client.create_ab_test(
            experiment, model, control, model, treatment, traffic_split=1 - traffic, **settings
        )

    ask_server(url, begin)
    if as_json:
        tables.show_json({"status": "success", "experiment_id": experiment})
    else:
        typer.echo(f"{experiment} runs: {model}:{control} against {model}:{treatment}")


@app.command(name="list")
def list_all(url: Url = DEFAULT_SERVER_URL, as_json: AsJson = False) -> None:
    """List every experiment, the oldest first."""
    listed = ask_server(url, lambda client: client.list_ab_tests())
    if as_json:
        tables.show_json(listed)
    elif listed:
        tables.show(tables.experiments_table(listed))
    else:
        typer.echo(f"no experiments at {url}")


@app.command()
def show(experiment: Experiment, url: Url = DEFAULT_SERVER_URL, as_json: AsJson = False) -> None:
    """Show what is known by now; looking often does no harm to the verdict."""

    async def look(client: ModelClient) -> dict[str, Any]:
        return _given(await client.get_ab_test_analysis(experiment))

    _report(ask_server(url, look), as_json)


@app.command()
def stop(experiment: Experiment, url: Url = DEFAULT_SERVER_URL, as_json: AsJson = False) -> None:
    """End an experiment; its model's requests then go to production."""

    async def end(client: ModelClient) -> dict[str, Any]:
        return _given(await client.stop_ab_test(experiment))

    _report(ask_server(url, end), as_json)


@app.command()
def report(
    experiment: Experiment,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file; EXPERIMENT.html by default.")
    ] = None,
    url: Url = DEFAULT_SERVER_URL,
) -> None:
    """Write a page about an experiment that needs no statistics to read."""
    # It draws, which a machine that only asks need not be able to.
    from serve_app.experiments.evidence import ExperimentEvidence
    from serve_app.experiments.report import render_report
    from serve_app.experiments.store_errors import MissingPackageError

    async def gather(client: ModelClient) -> dict[str, Any]:
        return _given(await client.get_ab_test_evidence(experiment))

    document = ask_server(url, gather)
    try:
        evidence = ExperimentEvidence.from_document(document)
        page = render_report(
            evidence.experiment, evidence.history, evidence.blocks, datetime.now(UTC)
        )
        path = output or Path(f"{evidence.experiment.definition.experiment_id}.html")
        path.write_text(page, encoding="utf-8")
    except (KeyError, TypeError, ValueError) as error:
        problem = f"the server's release and this one do not fit: {error!r}"
        typer.echo(f"error: {problem}; use the server's own modelctl", err=True)
        raise typer.Exit(1) from error
    except (MissingPackageError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{path} is written")


def _given(answer: dict[str, Any] | None) -> dict[str, Any]:
    assert answer is not None, "it raises instead"
    return answer


def _report(analysis: dict[str, Any], as_json: bool) -> None:
    if as_json:
        tables.show_json(analysis)
        return
    tables.show(tables.analysis_table(analysis))
    typer.echo(f"{analysis['status']}: {analysis['recommendation']['action']}")
    for reason in analysis["recommendation"]["reasons"]:
        typer.echo(f"  {reason}")
