"""The messages between the registry and the process of its trial runs, as JSON.

A request is a line of JSON, followed by the artifact's content and that of the version's own
windows; a response is a line of JSON.
Nothing is pickled: the process that has run a model file is not trusted to construct objects.
"""

import json
from dataclasses import asdict, dataclass
from typing import BinaryIO

from registry import errors
from registry.errors import RegistryError, UnusableModelError
from registry.records import ModelMetadata
from registry.trial_run.limits import TrialLimits

MAX_RESPONSE_BYTES = 100_000
"""The length to which a response is read."""

_MAX_TEXT = 2000
"""The length to which a text of an error is cut: a model file contributes to it."""

_ERRORS = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, RegistryError)
}


@dataclass(frozen=True, slots=True)
class Request:
    """One artifact to load and run."""

    metadata: ModelMetadata
    artifact: str
    content: bytes
    limits: TrialLimits
    recorded: bytes | None = None
    """The content of the version's `windows.npz`, None if it has none."""


def write_request(stream: BinaryIO, request: Request) -> None:
    """Send a request."""
    header = {
        "metadata": request.metadata.model_dump(mode="json"),
        "artifact": request.artifact,
        "content_bytes": len(request.content),
        "recorded_bytes": None if request.recorded is None else len(request.recorded),
        "limits": asdict(request.limits),
    }
    stream.write(json.dumps(header).encode() + b"\n")
    stream.write(request.content)
    stream.write(request.recorded or b"")
    stream.flush()


def read_request(stream: BinaryIO) -> Request | None:
    """Return the next request, None after the last one."""
    line = stream.readline()
    if not line:
        return None
    header = json.loads(line)
    content = stream.read(header["content_bytes"])
    recorded_bytes = header["recorded_bytes"]
    recorded = stream.read(recorded_bytes or 0)
    if len(content) + len(recorded) < header["content_bytes"] + (recorded_bytes or 0):
        return None
    return Request(
        metadata=ModelMetadata.model_validate(header["metadata"]),
        artifact=header["artifact"],
        content=content,
        limits=TrialLimits(**header["limits"]),
        recorded=None if recorded_bytes is None else recorded,
    )


def write_response(stream: BinaryIO, error: RegistryError | None) -> None:
    """Send the result of a request: the reason for a rejection, None if there is none."""
    named = None
    if error is not None:
        named = {"class": type(error).__name__, "args": [_plain(value) for value in error.args]}
    stream.write(json.dumps({"error": named}).encode() + b"\n")
    stream.flush()


def read_response(line: bytes, path: str) -> RegistryError | None:
    """Return the reason for a rejection in a response, None if there is none.

    Args:
        line: the response.
        path: the artifact, for the error if the response is none of this module.
    """
    try:
        named = json.loads(line)["error"]
        if named is None:
            return None
        args = [tuple(value) if isinstance(value, list) else value for value in named["args"]]
        error: RegistryError = _ERRORS[named["class"]](*args)
    except (ValueError, LookupError, TypeError) as error_of_message:
        problem = f"its trial run returned an unreadable response: {error_of_message!r}"
        return UnusableModelError(path, problem)
    return error


def _plain(value: object) -> object:
    """Return an argument of an error as a JSON value."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    text = str(value)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
