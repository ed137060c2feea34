"""The commands that list and load the versions of a running server."""

from typing import Annotated, Any

import typer

from serve_app.cli import tables
from serve_app.cli.connection import ServerLocation
from serve_app.cli.options import AsJson, Name, with_options
from serve_app.client import ModelClient


@with_options
def reload(
    name: Name,
    version: Annotated[
        str | None,
        typer.Argument(help="A version, production or staging; default: production."),
    ] = None,
    *,
    server: ServerLocation,
    as_json: AsJson = False,
) -> None:
    """Load a version into the running server, whose stages then follow the registry."""

    async def load(client: ModelClient) -> dict[str, Any]:
        response = await client.reload(name, version)
        assert response is not None, "the client raises instead"
        return response

    response = server.run_command(load)
    if as_json:
        tables.show_json(response)
    else:
        typer.echo(response.get("message", f"{name} is reloaded"))


@with_options
def served(*, server: ServerLocation, as_json: AsJson = False) -> None:
    """List the versions that the running server serves; `list` shows those registered."""
    models = server.run(lambda client: client.list_models())
    if as_json:
        tables.show_json(models)
    elif models:
        tables.show(tables.served_table(models))
    else:
        typer.echo(f"nothing is served at {server}")
