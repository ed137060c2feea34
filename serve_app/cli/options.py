"""The arguments and options that several commands share, each declared once.

A single argument or option is a type, such as `Name`. Options that belong together are the
fields of a dataclass, such as `Attribution`; `with_options` expands it in a command's signature.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

Name = Annotated[str, typer.Argument(help="Name of the model.")]
MaybeName = Annotated[str | None, typer.Argument(help="Name of a model; default: all models.")]
Version = Annotated[str, typer.Argument(help="Semantic version, for example 1.0.0.")]
SignWith = Annotated[
    Path | None,
    typer.Option(
        "--sign-with", help="File of the private key that signs the files; it is not sent anywhere."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@dataclass(frozen=True, slots=True)
class Attribution:
    """The author and the reason of a change, as recorded in the registry's history."""

    by: Annotated[
        str | None, typer.Option("--by", help="Author of the change; default: your user and host.")
    ] = None
    reason: Annotated[
        str, typer.Option("--reason", help="Reason for the change, recorded in the history.")
    ] = ""


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Expand each parameter of a command that is a dataclass of options into these options.

    The command line parser sees the fields of the dataclass in place of the parameter; the
    command receives the dataclass.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)
    }
    parameters = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _parameters_of(groups[name])
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def expanded(**values: object) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    del expanded.__wrapped__  # the parser would read the signature of the command
    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def _parameters_of(group: type) -> list[inspect.Parameter]:
    """Return one parameter per option of a group."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
