"""The snippets of docs/guides/registry.md run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

from registry.architectures import HybridCNNLSTM, save_checkpoint
from testkit.paths import ROOT

DOCUMENT = ROOT / "docs" / "guides" / "registry.md"


def test_the_lifecycle_runs_and_tells_the_history(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    (tmp_path / "trained").mkdir()
    for version in ("1.0.0", "1.1.0"):
        network = HybridCNNLSTM(lstm_hidden_size=8)
        save_checkpoint(network, tmp_path / "trained" / f"{version}.pt")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    *entries, production, difference = done.stdout.splitlines()
    assert len(entries) == 6
    assert entries[-1].endswith("rolled back 1.0.0 bob losses since noon")
    assert (production, difference) == ("1.0.0", "0.0")
    run_shell_snippet(tmp_path)


def run_shell_snippet(folder):
    """Run modelctl's commands on the folder that the Python snippet filled."""
    (script,) = re.findall(r"```bash\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert '"reason": "losses since noon"' in done.stdout
