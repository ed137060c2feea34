"""The page on HTTP, from the OpenAPI document that the server returns at /openapi.json."""

import inspect
import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel

from serve_app.access.control import AccessControl
from serve_app.access.quotas import Limits
from serve_app.access.tokens import TokenTable
from serve_app.api.rest import schemas
from serve_app.api.rest.app import build_rest_api
from serve_app.experiments import definition
from serve_app.settings import RouterSettings
from tools.reference.fields import field_docs
from tools.reference.markdown import code, table
from tools.reference.settings import kind_of

Schema = Mapping[str, Any]


def page() -> str:
    """Return the page."""
    control = AccessControl(TokenTable(), Limits(None, None))
    nothing = cast("Any", None)  # the document depends on none of the services
    document = build_rest_api(nothing, RouterSettings(), nothing, nothing, control).openapi()
    parts = [
        "# HTTP\n",
        "Every endpoint of the server, by default on port 8001. Errors have the body "
        "[`ErrorResponse`](#errorresponse) and the codes listed under [errors](errors.md). "
        "The forms of a body are explained in [the guide](../guides/http.md).\n",
        "## Endpoints\n",
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += endpoint(f"{method.upper()} {path}", operation)
    parts.append("## Bodies\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts += body(name, schema)
    return "\n".join(parts)


def endpoint(title: str, operation: Schema) -> list[str]:
    """Return the description of one endpoint."""
    rows = [
        ["request", code(content_type), kind(content["schema"])]
        for content_type, content in operation.get("requestBody", {}).get("content", {}).items()
    ]
    rows += [
        [f"response {status}", code(content_type), kind(content["schema"])]
        for status, response in operation["responses"].items()
        if status.isdigit()
        for content_type, content in response.get("content", {}).items()
    ]
    parts = [f"### {title}\n", f"{operation.get('description', '')}\n", f"{roles(operation)}\n"]
    parts.append(table(("Body of", "Content type", "Content"), rows))
    if parameters := operation.get("parameters"):
        rows = [
            [
                code(parameter["name"]),
                parameter["in"],
                kind(parameter["schema"]),
                parameter.get("description", ""),
            ]
            for parameter in parameters
        ]
        parts.append(table(("Parameter", "In", "Type", "Meaning"), rows))
    return parts


def roles(operation: Schema) -> str:
    """Return which token an endpoint requires, as a sentence."""
    required = [code(role) for entry in operation["security"] for role in entry.get("token", ())]
    return f"Requires the role {' or '.join(required)}." if required else "Requires no token."


def body(name: str, schema: Schema) -> list[str]:
    """Return the description of one body, or of a part of one."""
    parts = [f"### {name}\n", f"{inspect.cleandoc(schema.get('description', ''))}\n"]
    if "properties" not in schema:
        return [*parts, f"{kind(schema)}\n"]
    model = getattr(schemas, name, None) or getattr(definition, name, None)
    docs = field_docs(model) if isinstance(model, type) and issubclass(model, BaseModel) else {}
    required = schema.get("required", [])
    rows = [
        [
            code(field),
            kind(value),
            "required" if field in required else default_of(value),
            value.get("description") or docs.get(field, ""),
        ]
        for field, value in schema["properties"].items()
    ]
    return [*parts, table(("Field", "Type", "Default", "Meaning"), rows)]


def default_of(schema: Schema) -> str:
    """Return the default of a field as JSON writes it."""
    if "default" not in schema:
        return ""
    return code(json.dumps(schema["default"]))


def kind(schema: Schema) -> str:
    """Return the type of a value in words, with links to the bodies that it refers to."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(kind(option) for option in schema[key]))
    if schema.get("type") == "array":
        return f"list of {kind(schema['items'])}" if "items" in schema else "list"
    if "const" in schema:
        return code(schema["const"])
    if schema.get("format") == "binary":
        return "bytes"
    if schema.get("type") == "null":
        return "null"
    return kind_of(dict(schema))
