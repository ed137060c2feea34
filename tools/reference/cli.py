"""The page on the command line: every command of modelctl with its arguments and options."""

import inspect
from collections.abc import Iterator

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from serve_app.cli import app
from tools.reference.markdown import code, table


def page() -> str:
    """Return the page."""
    root = typer.main.get_command(app)
    parts = ["# Command line\n", f"{root.help}\n", "`modelctl COMMAND --help` prints the same.\n"]
    for words, command in commands(("modelctl",), root):
        parts += section(words, command)
    return "\n".join(parts)


def commands(
    words: tuple[str, ...], command: object
) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    """Yield every command below a group, with the words that invoke it."""
    if isinstance(command, TyperCommand):
        yield words, command
        return
    assert isinstance(command, TyperGroup)
    for name, inner in command.commands.items():
        yield from commands((*words, name), inner)


def section(words: tuple[str, ...], command: TyperCommand) -> list[str]:
    """Return the description of one command."""
    arguments = [parameter for parameter in command.params if isinstance(parameter, TyperArgument)]
    options = [parameter for parameter in command.params if isinstance(parameter, TyperOption)]
    usage = " ".join([*words, *map(usage_of, arguments), "[OPTIONS]" if options else ""]).strip()
    parts = [f"## {' '.join(words)}\n", f"```\n{usage}\n```\n"]
    if command.help:
        parts.append(f"{inspect.cleandoc(command.help)}\n")
    rows = [*map(argument_row, arguments), *map(option_row, options)]
    if rows:
        parts.append(table(("Argument or option", "Default", "Meaning"), rows))
    return parts


def usage_of(argument: TyperArgument) -> str:
    """Return an argument as the usage line shows it."""
    name = (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def argument_row(argument: TyperArgument) -> list[str]:
    """Return the row of an argument."""
    name = (argument.name or "").upper()
    return [code(name), default_of(argument), getattr(argument, "help", "") or ""]


def option_row(option: TyperOption) -> list[str]:
    """Return the row of an option."""
    names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    help_text = option.help or ""
    if option.envvar:
        help_text += f" Also read from {code(option.envvar)}."
    return [names, default_of(option), help_text]


def default_of(parameter: TyperArgument | TyperOption) -> str:
    """Return the default of a parameter as a user would type it."""
    if parameter.required:
        return "required"
    default = parameter.default
    if default is None or default is False or callable(default):
        return ""
    return code(default)
