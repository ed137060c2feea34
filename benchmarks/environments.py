"""One Python environment per peer, created once and kept in the user's cache."""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tradeserve-benchmarks"


class PeerUnavailableError(Exception):
    """A peer that cannot be measured on this machine; the results state the reason."""


def environment(name: str, requirements: Sequence[str], pins: Sequence[str] = ()) -> Path:
    """Return the Python of an environment with these packages.

    Args:
        name: begins the folder's name; other requirements have another folder.
        requirements: with exact versions, unless a file that they name has those.
        pins: what such files hold; other ones have another folder.

    Raises:
        PeerUnavailableError: they do not install.
    """
    digest = hashlib.sha256("\n".join([*requirements, *pins]).encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}-py{sys.version_info[0]}{sys.version_info[1]}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
        command = [str(python), "-m", "pip", "install", "-qq", *requirements]
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise PeerUnavailableError(
            f"{name}: {', '.join(requirements)} do not install: {detail[-300:]}"
        ) from error
    (folder / "complete").touch()
    return python


def read_requirements(path: Path) -> list[str]:
    """Return the lines of a requirements file."""
    return path.read_text().split()
