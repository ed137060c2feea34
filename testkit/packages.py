"""Installs packages that the lock does not contain, for one test."""

import subprocess
import sys
import tomllib
from pathlib import Path

from testkit.paths import ROOT


def install_package(requirement: str, folder: Path) -> None:
    """Install one package without its dependencies into a folder, which belongs on `sys.path`."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run(
        [*command, "--no-deps", "--target", str(folder), requirement], check=True, timeout=300
    )


def declare_example(folder: Path) -> None:
    """Declare the feature set of the example in a folder, as an installation of it would.

    The folder and that of this repository belong on `sys.path`.
    """
    info = folder / "tradeserve_examples-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tradeserve-examples\nVersion: 0.1.0\n"
    )
    project = tomllib.loads((ROOT / "examples/pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["tradeserve.feature_sets"]
    (info / "entry_points.txt").write_text(
        f"[tradeserve.feature_sets]\neurusd_hourly = {declared['eurusd_hourly']}\n"
    )
