"""The commands that start a server: `serve`, and `env` for a cluster of your own."""

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from serve_app.launch.environment import exported
from serve_app.launch.errors import (
    ConfigError,
    LaunchError,
    RestartsError,
    StartupError,
)
from serve_app.launch.ray_token import ensure_token
from serve_app.launch.session_folder import prepare_folder


def serve(
    config: Annotated[
        Path, typer.Argument(help="Ray Serve configuration, for example serve_config.yaml.")
    ],
) -> None:
    """Serve a configuration on this machine in its own Ray cluster until Ctrl-C."""
    # Serving requires Ray and psutil, which a machine that only reads a registry may lack.
    from serve_app.launch import launcher

    try:
        launcher.serve(config)
    except LaunchError as error:
        if isinstance(error, StartupError | RestartsError) and error.details:
            typer.echo(error.details, err=True)
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error


def env(
    *,
    multi_node: Annotated[
        bool,
        typer.Option(
            "--multi-node",
            help="For a cluster with nodes on other machines: Ray listens on the node's address.",
        ),
    ] = False,
) -> None:
    r"""Print the environment that Ray's commands require: eval "$(modelctl env)"."""
    variables = exported(os.environ, multi_node)
    try:
        ensure_token(variables)
        prepare_folder(variables)
    except LaunchError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
