"""The snippet of docs/guides/optimization.md runs as it stands."""

import re
import subprocess
import sys

from testkit.paths import ROOT

DOCUMENT = ROOT / "docs" / "guides" / "optimization.md"


def test_the_snippet_runs_and_the_file_is_right(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, _, last = done.stdout.splitlines()
    assert first.startswith("True {")
    assert last.startswith("True ")
    assert (tmp_path / "optimised" / "model.onnx").exists()
