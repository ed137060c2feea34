"""Installs packages that the lock does not contain, for one test."""

import subprocess
import sys
from pathlib import Path


def install_package(requirement: str, folder: Path) -> None:
    """Install one package without its dependencies into a folder, which belongs on `sys.path`."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run(
        [*command, "--no-deps", "--target", str(folder), requirement], check=True, timeout=300
    )
