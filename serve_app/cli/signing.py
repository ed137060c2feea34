"""The commands that create keys and sign versions."""

from pathlib import Path
from typing import Annotated

import typer

from registry import ModelInfo
from registry.api import RegistryApi
from registry.errors import RegistryError
from registry.signatures import SigningKey, manifest
from serve_app.cli import tables
from serve_app.cli.connection import RegistryLocation, exit_on
from serve_app.cli.options import AsJson, Attribution, Name, Version, with_options

key = typer.Typer(help="Create and show keys that sign versions.", no_args_is_help=True)

KeyFile = Annotated[Path, typer.Argument(help="File of the private key, PEM.")]


@key.command()
def create(path: KeyFile) -> None:
    """Write a new private key to a new file, and print its id for require_signature."""
    with exit_on(RegistryError):
        typer.echo(SigningKey.create(path).id)


@key.command(name="show")
def show_key(path: KeyFile) -> None:
    """Print the id of a private key for require_signature."""
    with exit_on(RegistryError):
        typer.echo(SigningKey(path).id)


@with_options
def sign(
    name: Name,
    version: Version,
    key_file: Annotated[Path, typer.Option("--key", help="File of the private key, PEM.")],
    *,
    attribution: Attribution,
    location: RegistryLocation,
    as_json: AsJson = False,
) -> None:
    """Sign the files of a published version, those of an optimisation included.

    The command reads every file and signs the digests that the registry recorded; compare them with
    those of their source first, or sign on registration with register --sign-with.
    """
    with exit_on(RegistryError):
        signing_key = SigningKey(key_file)

    async def signed(registry: RegistryApi) -> ModelInfo:
        metadata = (await registry.get_model(name, version)).metadata
        for artifact in metadata.artifacts:
            await registry.read_artifact(name, version, artifact)
        await registry.sign_version(
            name,
            version,
            signing_key.sign(manifest(metadata)),
            signing_key.sign(manifest(metadata, derived=True)) if metadata.derived else {},
            by=attribution.by,
            reason=attribution.reason,
        )
        return await registry.get_model(name, version)

    info = location.run(signed)
    if as_json:
        tables.show_json(tables.fields(info))
        return
    for artifact, sha256 in info.metadata.artifacts.items():
        typer.echo(f"{sha256}  {artifact}")
    typer.echo(f"{name}:{version} is signed by {signing_key.id}")
