"""The commands that look into a registry."""

from typing import Annotated

import typer

from registry import ModelStage
from registry.records import STAGE_NAMES
from serve_app.cli import tables
from serve_app.cli.connection import Folder, Server, ask, described
from serve_app.cli.options import AsJson, Name, Version

MaybeName = Annotated[str | None, typer.Argument(help="The model's name; all models without it.")]


def list_models(
    name: MaybeName = None, registry: Folder = None, server: Server = None, as_json: AsJson = False
) -> None:
    """List every registered version."""
    found = ask(registry, server, lambda opened: opened.list_models(name))
    if as_json:
        tables.show_json([tables.fields(each) for each in found])
    elif found:
        tables.show(tables.versions_table(found))
    else:
        where = described(registry, server)
        typer.echo(f"no models in {where}; `make serve` trains and registers the example's")


def show(
    name: Name,
    version: Annotated[
        str | None,
        typer.Argument(help="A version, production or staging; default: production, else latest."),
    ] = None,
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Show everything that is known of one version."""
    stage: ModelStage | None = STAGE_NAMES.get(version) if version else None
    number = None if stage else version
    found = ask(registry, server, lambda opened: opened.get_model(name, number, stage))
    if as_json:
        tables.show_json(tables.fields(found))
    else:
        tables.show(tables.fields_table(tables.fields(found)))


def compare(
    name: Name,
    version1: Version,
    version2: Version,
    registry: Folder = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Compare two versions side by side; what is better or worse about the second is marked."""
    compared = ask(registry, server, lambda opened: opened.compare_models(name, version1, version2))
    if as_json:
        tables.show_json(compared)
    else:
        tables.show(tables.comparison_table(compared))


def history(
    name: Name, registry: Folder = None, server: Server = None, as_json: AsJson = False
) -> None:
    """Show all that happened to a model: when, what, by whom and why."""
    entries = ask(registry, server, lambda opened: opened.history(name))
    if as_json:
        tables.show_json([each.model_dump(mode="json") for each in entries])
    else:
        tables.show(tables.history_table(name, entries))


def verify(
    name: MaybeName = None, registry: Folder = None, server: Server = None, as_json: AsJson = False
) -> None:
    """Look for missing, changed and leftover files; exit code 1 when there are any."""
    findings = ask(registry, server, lambda opened: opened.verify(name))
    if as_json:
        tables.show_json([each.model_dump(mode="json") for each in findings])
    elif findings:
        tables.show(tables.findings_table("found", findings))
    else:
        typer.echo(f"nothing wrong in {described(registry, server)}")
    if findings:
        raise typer.Exit(1)
