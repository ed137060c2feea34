"""The output of `serve run`: the address of the dashboard, and the reason of a failure."""

import re
from collections.abc import Iterable, Sequence

_DASHBOARD = re.compile(r"dashboard at\s.*?(http://[\w.:\[\]]+:\d+)")
_COLOUR = re.compile(r"\x1b\[\d*m")
_ORIGIN = re.compile(r"^\([\w:]+(?: pid=\d+)?\) ?")
"""The process that Ray names before a line of it."""
_FAILED_APPLICATION = re.compile(r"Deploying app '([^']+)' failed with exception")
_EXCEPTION = re.compile(r"[\w.]*(?:Error|Exception|Exit)(?:\(\w+\))?: \S")


def dashboard_url(line: str) -> str | None:
    """Return the address of Ray's dashboard if the line contains it."""
    found = _DASHBOARD.search(line)
    return found[1] if found else None


def failure_reason(lines: Sequence[str]) -> str | None:
    """Return why the server failed, as one line; None if its last lines do not state it.

    The failure of an application is the cause of the driver's own.
    """
    colourless = [_COLOUR.sub("", line) for line in lines]
    for index, line in enumerate(colourless):
        if found := _FAILED_APPLICATION.search(line):
            origin = _ORIGIN.match(line)
            prefix = origin[0] if origin else ""
            following = colourless[index + 1 :]
            traceback = [line for line in following if line.startswith(prefix)]
            if cause := _last_exception(traceback):
                return f"application {found[1]!r} could not be deployed: {cause}"
    return _last_exception(colourless)


def _last_exception(lines: Iterable[str]) -> str | None:
    plain = [_ORIGIN.sub("", line).strip() for line in lines]
    return next((line for line in reversed(plain) if _EXCEPTION.match(line)), None)
