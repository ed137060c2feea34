"""The registry that a command is about: a folder, or the one of a running cluster."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import typer

from registry import ModelRegistry
from registry.api import RegistryApi
from registry.errors import RegistryError
from registry.registry import DEFAULT_ROOT
from serve_app.deployments.actors.errors import ClusterError

Registry: TypeAlias = RegistryApi
"""The registry in a folder or that of a cluster; the commands do not distinguish them."""

Answer = TypeVar("Answer")

Folder = Annotated[
    Path | None,
    typer.Option(
        "--registry",
        envvar="MODELCTL_REGISTRY",
        help=f"The registry's folder; {DEFAULT_ROOT} by default.",
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="MODELCTL_SERVER",
        help="Instead of a folder: the Ray address of a running cluster, or auto on its machines.",
    ),
]


def ask(
    folder: Path | None, server: str | None, question: Callable[[Registry], Awaitable[Answer]]
) -> Answer:
    """Return the registry's answer; its refusal ends the command with exit code 1."""
    if folder is not None and server is not None:
        raise typer.BadParameter(
            "expected --registry or --server (MODELCTL_REGISTRY or MODELCTL_SERVER), "
            "received both; leave one out or unset its variable"
        )

    async def put(registry: Registry) -> Answer:
        return await question(registry)

    try:
        with _opened(folder, server) as registry:
            return asyncio.run(put(registry))
    except (RegistryError, ClusterError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def described(folder: Path | None, server: str | None) -> str:
    """Return the name of the place, for people."""
    return f"the cluster at {server}" if server else str(folder or DEFAULT_ROOT)


@contextmanager
def _opened(folder: Path | None, server: str | None) -> Iterator[Registry]:
    if server is None:
        yield ModelRegistry(folder or DEFAULT_ROOT)
        return
    # A machine that only works on a folder needs no Ray.
    from serve_app.deployments.actors.registry_client import connect

    with connect(server) as remote:
        yield remote
