"""The commands that back up a server and restore the backup."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from features.errors import BarLogError
from registry.errors import RegistryError
from serve_app.backup.backup import back_up
from serve_app.backup.errors import BackupError
from serve_app.backup.restore import restore as restore_backup
from serve_app.experiments.store_errors import StoreError
from serve_app.launch.config import read_config
from serve_app.launch.errors import ConfigError

Config = Annotated[Path, typer.Argument(help="The server's configuration.")]
Backup = Annotated[Path, typer.Argument(help="The file of the backup.")]


def backup(config: Config, file: Backup) -> None:
    """Write the registry, states, tokens, experiments and bars of a server to a new file."""
    with _reported():
        back_up(read_config(config).settings, file)
    typer.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


def restore(config: Config, file: Backup) -> None:
    """Restore a backup where nothing is yet; then start the server as usual."""
    with _reported():
        restore_backup(file, read_config(config).settings)
    typer.echo(f"{file} is restored; start the server with: modelctl serve {config}")


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except FileExistsError as error:
        typer.echo(f"error: {error} exists already; choose another name", err=True)
        raise typer.Exit(1) from error
    except (BackupError, BarLogError, RegistryError, StoreError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
