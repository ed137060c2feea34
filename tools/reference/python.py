"""The page on the public Python names."""

import dataclasses
import enum
import functools
import importlib
import inspect
import operator
import re
import typing
from collections.abc import Iterator
from types import GenericAlias, ModuleType, UnionType
from typing import Any

from pydantic import BaseModel

from tools.reference.fields import field_docs
from tools.reference.markdown import code, docstring, table

PACKAGES = ("registry", "features", "optimization", "serve_app")
MODULES = (
    "registry",
    "registry.architectures",
    "features",
    "features.bar_log",
    "features.feature_sets",
    "features.datasets",
    "features.labels",
    "optimization",
    "serve_app.client",
    "serve_app.experiments",
    "serve_app.experiments.definition",
    "serve_app.experiments.analysis",
)


def page() -> str:
    """Return the page."""
    parts = [
        "# Python\n",
        "The public names. Other modules may change in any release; errors are listed under "
        "[errors](errors.md).\n",
    ]
    for name in MODULES:
        module = importlib.import_module(name)
        parts += [f"## {name}\n", docstring(inspect.getdoc(module) or "")]
        for public in public_names(module):
            parts += describe(public, getattr(module, public))
    return "\n".join(parts)


def public_names(module: ModuleType) -> list[str]:
    """Return the names that a module exports, or else the classes and functions it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
        if inspect.isclass(value) or inspect.isfunction(value)
    ]


def describe(name: str, value: object) -> list[str]:
    """Return the description of one public name."""
    if inspect.isclass(value):
        return describe_class(name, value)
    if inspect.isroutine(value):
        return [f"### {name}\n", signature(name, value), docstring(inspect.getdoc(value) or "")]
    kind = type(value).__name__
    shown = f"{code(repr(value))}, " if isinstance(value, str | int | float) else ""
    return [f"### {name}\n", f"{shown}a {kind}.\n"]


def describe_class(name: str, cls: type) -> list[str]:
    """Return the description of a class: its constructor, its fields or members, its methods."""
    parts = [f"### {name}\n"]
    if issubclass(cls, enum.Enum):
        parts.append(docstring(inspect.getdoc(cls) or ""))
        rows = [[code(member.name), code(member.value)] for member in cls]
        return [*parts, table(("Member", "Value"), rows)]
    parts += [signature(name, cls), docstring(inspect.getdoc(cls) or "")]
    if dataclasses.is_dataclass(cls):
        docs = field_docs(cls)
        rows = [
            [code(field.name), code(plain(str(field.type))), docs.get(field.name, "")]
            for field in dataclasses.fields(cls)
        ]
        parts.append(table(("Field", "Type", "Meaning"), rows))
    if issubclass(cls, BaseModel):
        docs = field_docs(cls)
        names = [[code(name), docs.get(name, "")] for name in cls.model_fields]
        parts.append(table(("Field", "Meaning"), names))
    for method, function in methods(cls):
        parts += [
            f"#### {name}.{method}\n",
            signature(method, function),
            docstring(inspect.getdoc(function) or ""),
        ]
    return parts


def methods(cls: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods that the project defines for a class, in the order of definition."""
    seen: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.split(".")[0] not in PACKAGES:
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or name in seen or not inspect.isroutine(unwrapped(member)):
                continue
            seen.add(name)
            yield name, unwrapped(member)


def unwrapped(member: object) -> object:
    """Return the function of a class method or static method."""
    return member.__func__ if isinstance(member, classmethod | staticmethod) else member


def signature(name: str, value: object) -> str:
    """Return a signature as a code block, with one parameter per line if it is long."""
    assert callable(value)
    shown = inspect.signature(value)
    parameters = [
        str(parameter.replace(annotation=bare(parameter.annotation)))
        for parameter in shown.parameters.values()
        if parameter.name not in {"self", "cls"}
    ]
    start = f"async {name}(" if inspect.iscoroutinefunction(value) else f"{name}("
    returns = shown.return_annotation
    has_result = returns is not inspect.Signature.empty and not inspect.isclass(value)
    end = f") -> {inspect.formatannotation(returns)}" if has_result else ")"
    line = plain(start + ", ".join(parameters) + end)
    if len(line) > 90:
        line = plain(
            start + "\n" + "".join(f"    {parameter},\n" for parameter in parameters) + end
        )
    return f"```python\n{line}\n```\n"


def bare(annotation: Any) -> Any:  # noqa: ANN401
    """Return a type without the constraints of `Annotated`, at any depth."""
    if hasattr(annotation, "__metadata__"):
        return bare(annotation.__origin__)
    arguments = typing.get_args(annotation)
    if not arguments or typing.get_origin(annotation) is typing.Literal:
        return annotation
    if isinstance(annotation, UnionType) or typing.get_origin(annotation) is typing.Union:
        return functools.reduce(operator.or_, map(bare, arguments))
    if isinstance(annotation, GenericAlias):
        return GenericAlias(typing.get_origin(annotation), tuple(map(bare, arguments)))
    return annotation


def plain(text: str) -> str:
    """Return types without the paths of their modules."""
    text = re.sub(r"<class '([^']+)'>", r"\1", text)
    text = re.sub(r"<function (\w+) at 0x\w+>", r"\1", text)
    text = re.sub(r"<(\w+\.\w+): [^>]*>", r"\1", text)  # a member of an enumeration
    text = text.replace("PosixPath(", "Path(").replace("<factory>", "{}")
    return re.sub(r"\b(?:[a-z_0-9]+\.)+(?=[A-Z])", "", text)
