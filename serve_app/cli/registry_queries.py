"""The commands that read a registry."""

from typing import Annotated

import typer

from registry import ModelStage
from registry.records import STAGE_NAMES
from serve_app.cli import tables
from serve_app.cli.connection import RegistryLocation
from serve_app.cli.options import AsJson, MaybeName, Name, Version, with_options


@with_options
def list_models(
    name: MaybeName = None, *, location: RegistryLocation, as_json: AsJson = False
) -> None:
    """List every registered version."""
    versions = location.run(lambda registry: registry.list_models(name))
    if as_json:
        tables.show_json([tables.fields(version) for version in versions])
    elif versions:
        tables.show(tables.versions_table(versions))
    else:
        typer.echo(f"no models in {location}; `make serve` trains and registers the example's")


@with_options
def show(
    name: Name,
    version: Annotated[
        str | None,
        typer.Argument(
            help="A version, production or staging; default: production, else the latest version."
        ),
    ] = None,
    *,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Show the metadata of one version."""
    stage: ModelStage | None = STAGE_NAMES.get(version) if version else None
    exact = None if stage else version
    info = location.run(lambda registry: registry.get_model(name, exact, stage))
    if as_json:
        tables.show_json(tables.fields(info))
    else:
        tables.show(tables.fields_table(tables.fields(info)))


@with_options
def compare(
    name: Name,
    version1: Version,
    version2: Version,
    *,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Compare two versions, and mark where the second is better or worse."""
    comparison = location.run(lambda registry: registry.compare_models(name, version1, version2))
    if as_json:
        tables.show_json(comparison)
    else:
        tables.show(tables.comparison_table(comparison))


@with_options
def history(name: Name, *, location: RegistryLocation, as_json: AsJson = False) -> None:
    """Show every change of a model: when, what, by whom and why."""
    entries = location.run(lambda registry: registry.history(name))
    if as_json:
        tables.show_json([entry.model_dump(mode="json") for entry in entries])
    else:
        tables.show(tables.history_table(name, entries))


@with_options
def verify(name: MaybeName = None, *, location: RegistryLocation, as_json: AsJson = False) -> None:
    """Find missing, modified and leftover files; exit code 1 if there are any."""
    findings = location.run(lambda registry: registry.verify(name))
    if as_json:
        tables.show_json([finding.model_dump(mode="json") for finding in findings])
    elif findings:
        tables.show(tables.findings_table("found", findings))
    else:
        typer.echo(f"nothing wrong in {location}")
    if findings:
        raise typer.Exit(1)
