"""Groups of options, expanded into the signature of a command."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from serve_app.cli.options import with_options


@dataclass(frozen=True)
class Bounds:
    low: Annotated[int, typer.Option("--low")] = 0
    high: Annotated[int, typer.Option("--high")] = 9


@pytest.fixture
def run():
    app = typer.Typer()

    @app.command()
    @with_options
    def show(name: str, count: int = 1, *, bounds: Bounds, loud: bool = False) -> None:
        """Print the arguments."""
        typer.echo(f"{name} {count} {bounds.low} {bounds.high} {loud}")

    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_defaults(run):
    """Options that are not given have the defaults of the group."""
    assert run("a").stdout == "a 1 0 9 False\n"


def test_values(run):
    """The command receives the options as the group, in addition to its own parameters."""
    done = run("a", "--count", "2", "--high", "3", "--loud")
    assert done.stdout == "a 2 0 3 True\n"


def test_help(run):
    """The help lists the options of the group in the place of its parameter."""
    text = run("--help").stdout
    positions = [text.index(option) for option in ("--count", "--low", "--high", "--loud")]
    assert positions == sorted(positions)
    assert "bounds" not in text
    assert "Print the arguments." in text
