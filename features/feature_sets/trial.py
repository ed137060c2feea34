"""Loads a feature set in a separate process, so that its code can harm no process that serves.

The process reads the name from standard input, and writes what the feature set declares, or the
error, as JSON.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features import errors
from features.errors import BrokenFeatureSetError, FeatureSetError
from features.feature_sets.catalogue import find_feature_set

LOAD_S = 60.0
"""The time in which a feature set must load, most of it for its libraries on a busy machine."""

_ERRORS = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, FeatureSetError)
}


@dataclass(frozen=True, slots=True)
class Declared:
    """What a feature set declares, as its own process found it."""

    version: str
    timeframe: str
    lookback: int
    feature_names: tuple[str, ...]


def try_feature_set(name: str, timeout_s: float = LOAD_S) -> Declared:
    """Load an installed feature set in a separate process, and return what it declares.

    Raises:
        FeatureSetError: it cannot be loaded; see `find_feature_set`.
        BrokenFeatureSetError: its process ended or did not respond in time.
    """
    folders = [folder or str(Path.cwd()) for folder in sys.path]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "features.feature_sets.trial"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
            input=name.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        problem = f"it did not load within {timeout_s:g} s"
        raise BrokenFeatureSetError(name, "as installed", problem) from None
    try:
        response = json.loads(done.stdout)
    except ValueError:
        problem = f"its process ended with exit code {done.returncode}"
        raise BrokenFeatureSetError(name, "as installed", problem) from None
    if "error" in response:
        named = response["error"]
        args = [tuple(value) if isinstance(value, list) else value for value in named["args"]]
        error: FeatureSetError = _ERRORS[named["class"]](*args)
        raise error
    names = tuple(response["feature_names"])
    return Declared(response["version"], response["timeframe"], response["lookback"], names)


def _respond(name: str) -> dict[str, Any]:
    try:
        feature_set = find_feature_set(name).feature_set
    except FeatureSetError as error:
        return {"error": {"class": type(error).__name__, "args": error.args}}
    declared = Declared(
        feature_set.version,
        feature_set.timeframe.name,
        feature_set.lookback,
        feature_set.feature_names,
    )
    return asdict(declared)


def main() -> None:
    """Write the response to standard output; what the feature set prints goes elsewhere."""
    name = sys.stdin.read()
    with os.fdopen(os.dup(1), "w") as output:
        os.dup2(2, 1)
        json.dump(_respond(name), output)


if __name__ == "__main__":
    main()
