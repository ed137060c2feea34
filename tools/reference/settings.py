"""The page on settings: every key under `args` of serve_config.yaml."""

import json
import typing
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from serve_app.settings import AppSettings
from tools.reference.fields import field_docs
from tools.reference.markdown import code, table

HEADINGS = ("Key", "Type", "Default", "Meaning and cost")


def page() -> str:
    """Return the page."""
    parts = [
        "# Settings\n",
        "The keys below `args` in `serve_config.yaml`. They are checked together when the file is "
        "deployed; an unknown key is an error that names it.\n",
    ]
    for path, model in sections("", AppSettings):
        heading = f"`{path}`" if path else "The application"
        parts += [f"## {heading}\n", f"{model.__doc__}\n", table(HEADINGS, rows(model))]
    return "\n".join(parts)


def sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield a model of settings and those of its fields, each with its path in the file."""
    yield path, model
    for name, field in model.model_fields.items():
        nested = nested_model(field)
        if nested is not None:
            suffix = "[]" if typing.get_origin(field.annotation) is tuple else ""
            yield from sections(f"{path}.{name}{suffix}".lstrip("."), nested)


def nested_model(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of settings that a field holds, alone, optionally or in a tuple."""
    for kind in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def rows(model: type[BaseModel]) -> list[list[str]]:
    """Return a row per field; nested settings have their own section."""
    described = field_docs(model)
    properties = model.model_json_schema(mode="validation")["properties"]
    return [
        [
            code(name),
            type_of(field, properties[name]),
            default_of(field),
            described.get(name) or summary_of(field),
        ]
        for name, field in model.model_fields.items()
    ]


def summary_of(field: FieldInfo) -> str:
    """Return the description of a field's nested settings."""
    nested = nested_model(field)
    return (nested.__doc__ or "") if nested else ""


def type_of(field: FieldInfo, schema: dict[str, typing.Any]) -> str:
    """Return the type of a field with its bounds, in words."""
    nested = nested_model(field)
    if nested is not None:
        return "list, see below" if typing.get_origin(field.annotation) is tuple else "see below"
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    return ", or ".join(kind_of(option) for option in options)


def kind_of(schema: dict[str, typing.Any]) -> str:
    """Return the kind of a value in words, from its JSON schema."""
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "boolean"}
    kind = words.get(schema.get("type", ""), schema.get("type", "any"))
    bounds = {
        "exclusiveMinimum": ">",
        "minimum": "≥",
        "exclusiveMaximum": "<",
        "maximum": "≤",
    }
    limits = [f"{sign} {schema[key]:g}" for key, sign in bounds.items() if key in schema]
    return " ".join([kind, " and ".join(limits)]).strip()


def default_of(field: FieldInfo) -> str:
    """Return the default of a field as it is written in the file."""
    if field.is_required():
        return "required"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    return code(json.dumps(to_jsonable_python(field.default)))
