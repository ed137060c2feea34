"""The options that commands share, and what stands in NAME=VALUE ones."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Name = Annotated[str, typer.Argument(help="The model's name.")]
Version = Annotated[str, typer.Argument(help="A semantic version, such as 1.0.0.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
By = Annotated[str | None, typer.Option("--by", help="Who does it; your user and host by default.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the history.")]


def pairs(option: str, values: Sequence[str] | None, expected: str) -> dict[str, str]:
    """Return the NAME=VALUE of an option that may come several times."""
    found: dict[str, str] = {}
    for each in values or ():
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise _misused(option, expected, each)
        if name in found:
            raise _misused(option, f"{name} once", f"{name}={found[name]} and {each}")
        found[name] = value
    return found


def path_pairs(option: str, values: Sequence[str] | None) -> dict[str, Path]:
    """Return NAME=PATH."""
    return {name: Path(path) for name, path in pairs(option, values, "NAME=PATH").items()}


def number_pairs(option: str, values: Sequence[str] | None) -> dict[str, float]:
    """Return NAME=NUMBER."""
    numbers = {}
    for name, text in pairs(option, values, "NAME=NUMBER").items():
        try:
            numbers[name] = float(text)
        except ValueError:
            raise _misused(option, "NAME=NUMBER", f"{name}={text}") from None
    return numbers


def json_pairs(option: str, values: Sequence[str] | None) -> dict[str, Any]:
    """Return NAME=JSON, so that numbers stay numbers; a text needs its quotes."""
    expected = """NAME=JSON, such as epochs=50 or 'optimizer="adam"'"""
    parsed = {}
    for name, text in pairs(option, values, expected).items():
        try:
            parsed[name] = json.loads(text)
        except ValueError:
            raise _misused(option, expected, f"{name}={text}") from None
    return parsed


def shape(option: str, value: str) -> tuple[int, ...]:
    """Return TIMESTEPS,FEATURES."""
    try:
        return tuple(int(each) for each in value.split(","))
    except ValueError:
        raise _misused(option, "TIMESTEPS,FEATURES such as 60,110", value) from None


def numbers(option: str, value: str) -> tuple[int, ...]:
    """Return NUMBER,NUMBER,…"""
    try:
        return tuple(int(each) for each in value.split(","))
    except ValueError:
        raise _misused(option, "whole numbers such as 1,8,32", value) from None


def label_map(option: str, value: str) -> dict[int, str]:
    """Return the direction by class index of INDEX=DIRECTION,…"""
    expected = "INDEX=DIRECTION,… such as 0=HOLD,1=BUY,2=SELL"
    try:
        return {
            int(index): label for index, label in pairs(option, value.split(","), expected).items()
        }
    except ValueError:
        raise _misused(option, expected, value) from None


def _misused(option: str, expected: str, received: str) -> typer.BadParameter:
    return typer.BadParameter(f"{option}: expected {expected}, received {received}")
