"""wrk, a cheap load generator: one thread keeps connections busy with one body."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("post.lua")
_RESULT = "RESULT "
_ERRORS = ("connect", "read", "write", "status", "timeout")


class LoadError(Exception):
    """An invalid measurement: the load failed, or a request did not succeed."""


class NoAnswerError(LoadError):
    """A load without a response and without an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The request that is sent repeatedly."""

    path: str
    """The path with its query."""
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The result of a load in which every response was 200."""

    requests: int
    seconds: float
    percentiles_ms: Mapping[float, float]
    """The latency by percentile, in steps of 0.5."""

    @property
    def requests_per_s(self) -> float:
        """Return the requests per second."""
        return self.requests / self.seconds

    def as_json(self) -> dict[str, object]:
        """Return the load as JSON."""
        return {
            "requests": self.requests,
            "seconds": self.seconds,
            "requests_per_s": self.requests_per_s,
            "percentiles_ms": {f"{percent:g}": ms for percent, ms in self.percentiles_ms.items()},
        }


def run_wrk(url: str, request: Request, concurrency: int, seconds: int) -> Load:
    """Keep `concurrency` connections busy for a time.

    wrk counts an unusually long request several times, as if others had queued behind it; it does
    so for every server.

    Raises:
        LoadError: wrk is not installed or failed, or a request failed or got another status than
            2xx or 3xx.
    """
    program = shutil.which("wrk")
    if program is None:
        raise LoadError("wrk is not on the PATH; Debian and Ubuntu have it: apt install wrk")
    with tempfile.NamedTemporaryFile() as body:
        body.write(request.body)
        body.flush()
        command = [
            *(program, "--threads", "1", "--connections", str(concurrency)),
            *("--duration", f"{seconds}s", "--timeout", "30s", "--script", str(SCRIPT)),
            f"{url}{request.path}",
        ]
        environment = {"WRK_BODY": body.name, "WRK_CONTENT_TYPE": request.content_type}
        done = subprocess.run(  # noqa: S603 - a program of the user's PATH, our own arguments
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
    if done.returncode != 0:
        raise LoadError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    return parse_result(done.stdout)


def parse_result(output: str) -> Load:
    """Return what `post.lua` printed.

    Raises:
        LoadError: the line is missing, or there were errors.
        NoAnswerError: nothing was answered.
    """
    lines = [line for line in output.splitlines() if line.startswith(_RESULT)]
    if len(lines) != 1:
        raise LoadError(f"expected one line with wrk's result, received {len(lines)}: {output!r}")
    result = json.loads(lines[0].removeprefix(_RESULT))
    errors = {name: result[name] for name in _ERRORS if result[name] != 0}
    if errors:
        raise LoadError(
            f"expected every request to be answered 200, received {result['requests']} answers "
            f"and errors by kind: {errors}"
        )
    if result["requests"] == 0:
        raise NoAnswerError("expected answers, received none, nor an error")
    return Load(
        requests=result["requests"],
        seconds=result["duration_us"] / 1e6,
        percentiles_ms={
            float(percent): us / 1e3 for percent, us in result["percentiles_us"].items()
        },
    )
