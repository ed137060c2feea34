"""The commands on the tokens of a server, `modelctl token …`: on its token file, without Ray."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from registry.layout import Layout
from registry.registry import DEFAULT_ROOT
from serve_app.access.roles import Role
from serve_app.access.token_file import TokenFile
from serve_app.access.tokens import Token, check_name
from serve_app.cli import tables
from serve_app.cli.connection import RegistryFolder, exit_on
from serve_app.cli.options import AsJson, with_options
from serve_app.errors import ServingError

app = typer.Typer(help="Create and revoke the tokens that a server accepts.", no_args_is_help=True)

TokenName = Annotated[str, typer.Argument(help="Name of the token, as recorded with changes.")]

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LIFETIME = re.compile(r"([1-9][0-9]{0,5})([mhd])")


@dataclass(frozen=True, slots=True)
class TokenLocation:
    """The token file of a server."""

    registry: RegistryFolder = None
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", help="The file that access.token_file names, if it names one."
        ),
    ] = None

    @property
    def file(self) -> TokenFile:
        """The file of the tokens."""
        root = self.registry or Path(DEFAULT_ROOT)
        return TokenFile(self.token_file or Layout(root).tokens())


@app.command()
@with_options
def create(
    name: TokenName,
    role: Annotated[
        list[Role],
        typer.Option(help="What the token permits; repeatable.", case_sensitive=False),
    ],
    expires: Annotated[
        str | None,
        typer.Option(help="Lifetime, for example 90d, 12h or 30m; default: it never expires."),
    ] = None,
    *,
    location: TokenLocation,
    as_json: AsJson = False,
) -> None:
    """Create a token and print its secret, once: it is stored nowhere.

    The server accepts it within a second. The first token closes the server to requests without
    one.
    """
    lifetime = None if expires is None else parse_lifetime(expires)
    try:
        check_name(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with exit_on(ServingError):
        file = location.file
        is_first = not file.tokens()
        token, secret = file.create(name, role, lifetime)
    if as_json:
        tables.show_json({**_document(token), "token": secret})
    else:
        typer.echo(secret)  # alone, for TOKEN=$(modelctl token create …)
    if is_first:
        typer.echo("from now on the server requires a token for every request", err=True)


@app.command(name="list")
@with_options
def list_all(*, location: TokenLocation, as_json: AsJson = False) -> None:
    """List the tokens, revoked and expired ones included, without their secrets."""
    with exit_on(ServingError):
        tokens = location.file.tokens()
    if as_json:
        tables.show_json([_document(token) for token in tokens])
    elif tokens:
        tables.show(tables.tokens_table([_document(token) for token in tokens]))
    else:
        typer.echo(f"no tokens in {location.file.path}; requests need none")


@app.command()
@with_options
def revoke(name: TokenName, *, location: TokenLocation, as_json: AsJson = False) -> None:
    """Revoke a token; the server rejects it within a second."""
    with exit_on(ServingError):
        file = location.file
        token = file.revoke(name)
        usable = [other for other in file.tokens() if _state(other) == "usable"]
    if as_json:
        tables.show_json(_document(token))
    else:
        typer.echo(f"{name} is revoked")
    if not usable:
        typer.echo(
            "no usable token is left, and the server still requires one; create another", err=True
        )


def parse_lifetime(text: str) -> timedelta:
    """Return a lifetime.

    >>> parse_lifetime("90d")
    datetime.timedelta(days=90)

    Raises:
        typer.BadParameter: it is not a number of minutes, hours or days.
    """
    match = _LIFETIME.fullmatch(text)
    if match is None:
        raise typer.BadParameter(
            f"--expires: expected a number with m, h or d such as 90d, received {text!r}"
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _state(token: Token) -> str:
    now = datetime.now(UTC)
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.rejection(now) else "usable"


def _document(token: Token) -> dict[str, str | Sequence[str] | None]:
    """Return a token as JSON, without its digest."""
    return {
        "name": token.name,
        "roles": sorted(token.roles),
        "state": _state(token),
        "created_at": _time(token.created_at),
        "expires_at": _time(token.expires_at),
        "revoked_at": _time(token.revoked_at),
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
