"""Connects a command to a registry or a running server, and ends it if a call fails."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from registry import ModelRegistry
from registry.api import RegistryApi
from registry.errors import RegistryError
from registry.registry import DEFAULT_ROOT
from serve_app import feature_sets
from serve_app.client import DEFAULT_SERVER_URL, ModelClient
from serve_app.deployments.actors.errors import ClusterError
from serve_app.errors import ServingError
from serve_app.launch.environment import client_environment
from serve_app.timeouts import CLIENT_COMMAND_S

SERVER_TIMEOUT_S = 2.0
"""Time without a response after which the server counts as unreachable; commands take longer."""

NOTICE_PERIOD_S = 10.0
"""Period at which a command that has no response yet reports that it waits."""

RegistryFolder = Annotated[
    Path | None,
    typer.Option(
        "--registry",
        envvar="MODELCTL_REGISTRY",
        help=f"Folder of the registry; default: {DEFAULT_ROOT}.",
    ),
]

Result = TypeVar("Result")

_SILENT = logging.NullHandler()


@dataclass(frozen=True, slots=True)
class RegistryLocation:
    """The registry that a command reads or changes: a folder, or that of a running cluster."""

    registry: RegistryFolder = None
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            envvar="MODELCTL_SERVER",
            help="Ray address of a running cluster whose registry is used instead of a folder, or "
            "auto on a machine of the cluster; USER@ADDRESS if another user of this machine runs "
            "it.",
        ),
    ] = None

    def __str__(self) -> str:
        return f"the cluster at {self.server}" if self.server else str(self._folder)

    def run(self, call: Callable[[RegistryApi], Awaitable[Result]]) -> Result:
        """Return the result of a call; an error of the registry ends the command."""
        if self.registry is not None and self.server is not None:
            raise typer.BadParameter(
                "expected --registry or --server (MODELCTL_REGISTRY or MODELCTL_SERVER), "
                "received both; omit one or unset its variable"
            )

        async def run(registry: RegistryApi) -> Result:
            return await call(registry)

        with exit_on(RegistryError, ClusterError, ServingError), self._opened() as registry:
            return asyncio.run(run(registry))

    @property
    def _folder(self) -> Path:
        return self.registry or Path(DEFAULT_ROOT)

    @contextmanager
    def _opened(self) -> Iterator[RegistryApi]:
        if self.server is None:
            yield ModelRegistry(self._folder, check=feature_sets.try_out)
            return
        # Ray reads its environment when it is imported.
        os.environ.update(client_environment(os.environ))
        # A machine that works only on a folder needs no Ray.
        from serve_app.deployments.actors.registry_client import connect

        with connect(self.server) as remote:
            yield remote


@dataclass(frozen=True, slots=True)
class ServerLocation:
    """The running server that a command calls over HTTP, as a bot does."""

    url: Annotated[
        str, typer.Option("--url", envvar="MODELCTL_URL", help="HTTP address of the server.")
    ] = DEFAULT_SERVER_URL

    def __str__(self) -> str:
        return self.url

    def run(self, call: Callable[[ModelClient], Awaitable[Result]]) -> Result:
        """Return the result of a call; an error of the client or the server ends the command."""
        mute_client()

        async def run(client: ModelClient) -> Result:
            async with client:
                return await call(client)

        try:
            client = ModelClient(self.url, timeout_s=SERVER_TIMEOUT_S, raise_errors=True)
        except ValueError as error:
            raise typer.BadParameter(f"--url: {error}") from error
        with exit_on(ServingError):
            return asyncio.run(run(client))

    def run_command(self, command: Callable[[ModelClient], Awaitable[Result]]) -> Result:
        """Return the result of a command, as `run` does; report an unreachable server at once.

        The client repeats a command for as long as the server may take for it, which is minutes;
        the user learns from a line per NOTICE_PERIOD_S that it waits.
        """

        async def run(client: ModelClient) -> Result:
            await client.list_models()  # waits SERVER_TIMEOUT_S
            notices = asyncio.create_task(self._report_wait())
            try:
                return await command(client)
            finally:
                notices.cancel()

        return self.run(run)

    async def _report_wait(self) -> None:
        started_s = time.monotonic()
        while True:
            await asyncio.sleep(NOTICE_PERIOD_S)
            typer.echo(
                f"waiting for {self.url}: no result after {time.monotonic() - started_s:.0f} s, "
                f"the command ends after {CLIENT_COMMAND_S:.0f} s at the latest",
                err=True,
            )


def mute_client() -> None:
    """Keep the client's log off the terminal: a command's last line states the reason already."""
    logging.getLogger("serve_app.client").addHandler(_SILENT)


@contextmanager
def exit_on(*errors: type[Exception]) -> Iterator[None]:
    """Print an error of these classes as one line and end the command with exit code 1."""
    try:
        yield
    except errors as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
