"""The commands that ask a running server, over HTTP as a bot does."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from serve_app.cli import tables
from serve_app.cli.options import AsJson, Name
from serve_app.client import DEFAULT_SERVER_URL, ModelClient
from serve_app.errors import ServingError

QUESTION_TIMEOUT_S = 2.0
"""After this long the server counts as not there."""

Answer = TypeVar("Answer")

Url = Annotated[
    str, typer.Option("--url", envvar="MODELCTL_URL", help="Where the server answers HTTP.")
]

_SILENT = logging.NullHandler()


def reload(
    name: Name,
    version: Annotated[
        str | None,
        typer.Argument(help="A version, production or staging; production by default."),
    ] = None,
    url: Url = DEFAULT_SERVER_URL,
    as_json: AsJson = False,
) -> None:
    """Load a version into the running server; its stages then follow the registry's."""

    async def change(client: ModelClient) -> dict[str, Any]:
        await client.list_models()  # a server that is not there is known before the long wait
        answer = await client.reload(name, version)
        assert answer is not None, "it raises instead"
        return answer

    answer = ask_server(url, change)
    if as_json:
        tables.show_json(answer)
    else:
        typer.echo(answer.get("message", f"{name} is reloaded"))


def served(url: Url = DEFAULT_SERVER_URL, as_json: AsJson = False) -> None:
    """List what the running server serves; `list` shows what is registered."""
    listed = ask_server(url, lambda client: client.list_models())
    if as_json:
        tables.show_json(listed)
    elif listed:
        tables.show(tables.served_table(listed))
    else:
        typer.echo(f"nothing is served at {url}")


def ask_server(url: str, question: Callable[[ModelClient], Awaitable[Answer]]) -> Answer:
    """Return the server's answer; its refusal ends the command with exit code 1."""
    # The client logs the reason of a failure; here it is the command's own last line instead.
    logging.getLogger("serve_app.client").addHandler(_SILENT)

    async def put(client: ModelClient) -> Answer:
        async with client:
            return await question(client)

    try:
        client = ModelClient(
            url,
            timeout_s=QUESTION_TIMEOUT_S,
            raise_errors=True,
        )
    except ValueError as error:
        raise typer.BadParameter(f"--url: {error}") from error
    try:
        return asyncio.run(put(client))
    except ServingError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
