"""Reads `serve_config.yaml` and reports every problem in it before Ray starts."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from serve_app.access.interfaces import require_tokens
from serve_app.access.token_file import TokenFile
from serve_app.access.tokens import TokenTable
from serve_app.errors import SettingsError, TokenFileError
from serve_app.launch.errors import ConfigError
from serve_app.launch.resolved_config import ipv6_host, resolved
from serve_app.settings import AppSettings

if TYPE_CHECKING:
    from ray.serve.schema import HTTPOptionsSchema

Model = TypeVar("Model", bound=BaseModel)

BUILDER = "serve_app.app:build"
"""Import path of the application, whose `args` are AppSettings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """The address in a configuration file."""

    path: Path
    """The absolute path of the file."""
    host: str
    """The interface on which the server listens; 0.0.0.0 stands for every interface."""
    port: int
    """The HTTP port."""
    settings: Sequence[AppSettings] = ()
    """The settings of each of our applications."""
    resolved: Mapping[str, Any] | None = None
    """The content with absolute paths; None with applications of others, which may rely on the
    working directory."""


def read_config(path: Path) -> ServeConfig:
    """Return the address in a file after validating the file with Ray Serve's schema and ours.

    Raises:
        ConfigError: the file is missing, not YAML or invalid, or Ray Serve cannot read a flag of
            the environment; the error lists every problem.
    """
    try:
        from ray.serve.schema import ServeDeploySchema
    except ValueError as error:  # names a RAY_SERVE_* variable that Serve cannot read
        raise ConfigError(path, [str(error)]) from error

    content = _read_mapping(path)
    deployment = _checked(ServeDeploySchema, content, path, prefix="")
    settings = []
    for index, application in enumerate(deployment.applications):
        if application.import_path == BUILDER:
            prefix = f"applications.{index}.args"
            settings.append(_checked(AppSettings, application.args, path, prefix))
    http = deployment.http_options
    _check_no_tls(http, path)
    return ServeConfig(
        path=path.resolve(),
        host=ipv6_host(http.host) or http.host,
        port=http.port,
        settings=settings,
        resolved=(
            resolved(content, BUILDER, Path.cwd())
            if len(settings) == len(deployment.applications)
            else None
        ),
    )


def check_tokens(config: ServeConfig) -> None:
    """Check that other machines reach the server only with a token, or by an explicit choice.

    Raises:
        ConfigError: no token exists, and the configuration does not state that none are wanted; or
            the tokens cannot be read.
    """
    try:
        for settings in config.settings:
            table = TokenTable(tokens=tuple(TokenFile(settings.token_file).tokens()))
            require_tokens(config.host, table, anonymous=settings.access.anonymous)
    except (SettingsError, TokenFileError) as error:
        raise ConfigError(config.path, [str(error)]) from error


def check_registries(config: ServeConfig) -> None:
    """Check that this user may write to the registries, in which the server keeps its state.

    Raises:
        ConfigError: it may not.
    """
    for settings in config.settings:
        folder = Path(settings.registry_root)
        if folder.is_dir() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            problem = (
                f"registry_root: expected a folder that user {os.geteuid()} may read and write, "
                f"since the server keeps its serving state and its experiments there, received "
                f"{folder.resolve()}; start it as the owner, or serve a copy of the registry"
            )
            raise ConfigError(config.path, [problem])


def _check_no_tls(http: "HTTPOptionsSchema", path: Path) -> None:
    """Check that no certificate is set, which Serve would apply behind HAProxy only."""
    if http.ssl_certfile is not None or http.ssl_keyfile is not None:
        problem = (
            "http_options.ssl_certfile: expected none, since HAProxy would neither serve TLS nor "
            "reach the routers; terminate TLS in a proxy in front, as docs/guides/access.md shows"
        )
        raise ConfigError(path, [problem])


def _read_mapping(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problem = "no such file; pass a Ray Serve configuration such as serve_config.yaml"
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
        problems = [_problem(finding, prefix) for finding in error.errors()]
        raise ConfigError(path, problems) from error


def _problem(finding: ErrorDetails, prefix: str) -> str:
    """Return a finding of pydantic as `field: problem`."""
    field = ".".join(str(part) for part in (prefix, *finding["loc"]) if part != "")
    match finding["type"]:
        case "missing":
            problem = "is missing"
        case "extra_forbidden":
            problem = "unknown key"
        case "value_error":
            problem = finding["msg"].removeprefix("Value error, ")  # contains what it received
        case _ if isinstance(finding["input"], dict | list | tuple):
            problem = finding["msg"]
        case _:
            problem = f"{finding['msg']}, received {finding['input']!r}"
    return f"{field}: {problem}" if field else problem
