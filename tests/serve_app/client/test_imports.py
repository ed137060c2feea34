"""What a bot must install."""

import subprocess
import sys

from testkit.paths import ROOT


def test_imports():
    """Importing the client imports nothing of the server: a bot installs neither Ray nor torch."""
    code = "import sys, serve_app.client; print(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"ray", "torch", "onnx", "onnxruntime", "fastapi", "pydantic", "registry", "pandas"}
    assert heavy & set(run.stdout.split()) == set()
