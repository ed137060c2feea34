"""Parses the text of options that hold pairs or lists. Pure."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer


def pairs(option: str, values: Sequence[str] | None, expected: str) -> dict[str, str]:
    """Return the NAME=VALUE pairs of an option that may be repeated.

    >>> pairs("--output", ["confidence=score", "direction=side"], "MEANING=NAME")
    {'confidence': 'score', 'direction': 'side'}

    Raises:
        typer.BadParameter: a value is no pair, or a name occurs twice.
    """
    found: dict[str, str] = {}
    for pair in values or ():
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise _misused(option, expected, pair)
        if name in found:
            raise _misused(option, f"{name} once", f"{name}={found[name]} and {pair}")
        found[name] = value
    return found


def path_pairs(option: str, values: Sequence[str] | None) -> dict[str, Path]:
    """Return NAME=PATH pairs as paths by name."""
    return {name: Path(path) for name, path in pairs(option, values, "NAME=PATH").items()}


def number_pairs(option: str, values: Sequence[str] | None) -> dict[str, float]:
    """Return NAME=NUMBER pairs as numbers by name.

    >>> number_pairs("--metric", ["accuracy=0.5", "loss=1e-3"])
    {'accuracy': 0.5, 'loss': 0.001}
    """
    numbers = {}
    for name, text in pairs(option, values, "NAME=NUMBER").items():
        try:
            numbers[name] = float(text)
        except ValueError:
            raise _misused(option, "NAME=NUMBER", f"{name}={text}") from None
    return numbers


def json_pairs(option: str, values: Sequence[str] | None) -> dict[str, Any]:
    """Return NAME=JSON pairs as values by name; a text needs its JSON quotes.

    >>> json_pairs("--param", ["epochs=50", 'optimizer="adam"'])
    {'epochs': 50, 'optimizer': 'adam'}
    """
    expected = """NAME=JSON, such as epochs=50 or 'optimizer="adam"'"""
    parsed = {}
    for name, text in pairs(option, values, expected).items():
        try:
            parsed[name] = json.loads(text)
        except ValueError:
            raise _misused(option, expected, f"{name}={text}") from None
    return parsed


def shape(option: str, value: str) -> tuple[int, ...]:
    """Return the integers of TIMESTEPS,FEATURES.

    >>> shape("--input-shape", "60,110")
    (60, 110)
    """
    return _integers(option, value, "TIMESTEPS,FEATURES such as 60,110")


def integers(option: str, value: str) -> tuple[int, ...]:
    """Return the integers of NUMBER,NUMBER,…"""
    return _integers(option, value, "whole numbers such as 1,8,32")


def label_map(option: str, value: str) -> dict[int, str]:
    """Return the directions of INDEX=DIRECTION,… by class index.

    >>> label_map("--label-map", "0=SELL,1=HOLD,2=BUY")
    {0: 'SELL', 1: 'HOLD', 2: 'BUY'}
    """
    expected = "INDEX=DIRECTION,… such as 0=HOLD,1=BUY,2=SELL"
    try:
        return {
            int(index): label for index, label in pairs(option, value.split(","), expected).items()
        }
    except ValueError:
        raise _misused(option, expected, value) from None


def _integers(option: str, value: str, expected: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise _misused(option, expected, value) from None


def _misused(option: str, expected: str, received: str) -> typer.BadParameter:
    return typer.BadParameter(f"{option}: expected {expected}, received {received}")
