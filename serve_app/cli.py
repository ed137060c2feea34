"""`modelctl`: serves a configuration, prints the environment, reads the registry.

Exit codes: 0 done, 1 refused by the registry or failed to start, 2 wrong usage or configuration.
"""

import asyncio
import json
import os
import shlex
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from registry import ModelInfo, ModelStage, get_model_registry
from registry.errors import RegistryError
from registry.records import STAGE_NAMES
from serve_app.environment import SERVER_ENVIRONMENT, server_environment

app = typer.Typer(
    help="Serve trading models and look into their registry.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Answer = TypeVar("Answer")

RegistryRoot = Annotated[Path, typer.Option("--registry", help="The registry's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command()
def serve(
    config: Annotated[
        Path, typer.Argument(help="A Serve configuration, such as serve_config.yaml.")
    ],
) -> None:
    """Serve a configuration on this machine, in a Ray cluster of its own, until Ctrl-C."""
    # Serving needs Ray and psutil, which a machine that only reads the registry may not have.
    from serve_app.launch import server
    from serve_app.launch.errors import ConfigError, LaunchError, StartupError

    try:
        server.serve(config)
    except LaunchError as error:
        if isinstance(error, StartupError) and error.details:
            typer.echo(error.details, err=True)
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error


@app.command()
def env() -> None:
    r"""Print what to set before `ray start`: eval "$(modelctl env)"."""
    effective = server_environment(os.environ)
    for name in SERVER_ENVIRONMENT:
        typer.echo(f"export {name}={shlex.quote(effective[name])}")


@app.command(name="list")
def list_models(registry: RegistryRoot = Path("models"), as_json: AsJson = False) -> None:
    """List every registered version."""
    found = _ask(get_model_registry(registry).list_models())
    if as_json:
        _print_json([_fields(each) for each in found])
        return
    if not found:
        typer.echo(f"no models in {registry}; `make serve` trains and registers the example's")
        return
    table = Table("model", "version", "stage", "type", "MB", "metrics", "registered")
    for each in found:
        known = each.metadata
        metrics = " ".join(f"{name}={value:.4g}" for name, value in known.metrics.items())
        created = known.created_at.strftime("%Y-%m-%d %H:%M")
        size = f"{known.model_size_mb:.2f}"
        table.add_row(
            known.name, known.version, known.stage, known.model_type, size, metrics, created
        )
    Console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[
        str | None,
        typer.Argument(help="A version, production or staging; default: production, else latest."),
    ] = None,
    registry: RegistryRoot = Path("models"),
    as_json: AsJson = False,
) -> None:
    """Show everything that is known of one version."""
    stage: ModelStage | None = STAGE_NAMES.get(version) if version else None
    number = None if stage else version
    found = _ask(get_model_registry(registry).get_model(name, number, stage))
    if as_json:
        _print_json(_fields(found))
        return
    table = Table(show_header=False)
    for field, value in _fields(found).items():
        table.add_row(field, value if isinstance(value, str) else json.dumps(value))
    Console().print(table)


def _ask(question: Awaitable[Answer]) -> Answer:
    """Return the registry's answer; its refusal ends the command with exit code 1."""

    async def ask() -> Answer:
        return await question

    try:
        return asyncio.run(ask())
    except RegistryError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _fields(info: ModelInfo) -> dict[str, object]:
    return {**info.metadata.model_dump(mode="json"), "path": str(info.path)}


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
