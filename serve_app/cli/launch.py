"""The commands that start a server: `serve`, and `env` for a cluster of your own."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from serve_app.launch.environment import SERVER_ENVIRONMENT, server_environment


def serve(
    config: Annotated[
        Path, typer.Argument(help="Ray Serve configuration, for example serve_config.yaml.")
    ],
) -> None:
    """Serve a configuration on this machine in its own Ray cluster until Ctrl-C."""
    # Serving requires Ray and psutil, which a machine that only reads a registry may lack.
    from serve_app.launch import server
    from serve_app.launch.errors import ConfigError, LaunchError, StartupError

    try:
        server.serve(config)
    except LaunchError as error:
        if isinstance(error, StartupError) and error.details:
            typer.echo(error.details, err=True)
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error


def env() -> None:
    r"""Print the environment that `ray start` requires: eval "$(modelctl env)"."""
    effective = server_environment(os.environ)
    for name in SERVER_ENVIRONMENT:
        typer.echo(f"export {name}={shlex.quote(effective[name])}")
