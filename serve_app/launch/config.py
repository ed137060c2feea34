"""Reads `serve_config.yaml` and finds what is wrong with it before Ray starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from serve_app.launch.errors import ConfigError
from serve_app.settings import AppSettings

Model = TypeVar("Model", bound=BaseModel)

BUILDER = "serve_app.app:build"
"""Import path of the application whose `args` are AppSettings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """What the launcher needs to know of a configuration file."""

    path: Path
    """Absolute."""
    host: str
    """Interface that the server listens on; 0.0.0.0 is every one."""
    port: int
    """HTTP port."""


def read_config(path: Path) -> ServeConfig:
    """Return the file's address after checking it as Ray Serve will, and every `args` of ours.

    Raises:
        ConfigError: the file is not there, no YAML, or breaks a schema, or the environment holds
            a flag that Ray Serve cannot read; it names every problem.
    """
    try:
        from ray.serve.schema import ServeDeploySchema
    except ValueError as error:  # a RAY_SERVE_* variable that Serve cannot read; it names it
        raise ConfigError(path, [str(error)]) from error

    content = _read_mapping(path)
    deployment = _checked(ServeDeploySchema, content, path, prefix="")
    for index, application in enumerate(deployment.applications):
        if application.import_path == BUILDER:
            prefix = f"applications.{index}.args"
            _checked(AppSettings, application.args, path, prefix)
    http = deployment.http_options
    return ServeConfig(path=path.resolve(), host=http.host, port=http.port)


def _read_mapping(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = "no such file; expected a Serve configuration such as serve_config.yaml"
        raise ConfigError(path, [problem]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, [f"cannot be read: {error}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError(path, [f"is not valid YAML: {error}"]) from error
    if not isinstance(content, dict):
        problem = f"expected a mapping with the key 'applications', received {content!r}"
        raise ConfigError(path, [problem])
    return content


def _checked(model: type[Model], content: object, path: Path, prefix: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [_sentence(each, prefix) for each in error.errors()]
        raise ConfigError(path, problems) from error


def _sentence(finding: ErrorDetails, prefix: str) -> str:
    """Return what pydantic found as `field: problem`."""
    field = ".".join(str(part) for part in (prefix, *finding["loc"]) if part != "")
    match finding["type"]:
        case "missing":
            problem = "is missing"
        case "extra_forbidden":
            problem = "unknown key"
        case "value_error":
            problem = finding["msg"].removeprefix("Value error, ")  # says itself what it received
        case _ if isinstance(finding["input"], dict | list | tuple):
            problem = finding["msg"]
        case _:
            problem = f"{finding['msg']}, received {finding['input']!r}"
    return f"{field}: {problem}" if field else problem
