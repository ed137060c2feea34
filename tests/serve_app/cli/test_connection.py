"""The registry or server that a command works on."""

import subprocess
import sys

from tests.serve_app.cli.commands import error_text, modelctl


def test_registry_from_environment(tmp_path):
    """MODELCTL_REGISTRY names the folder."""
    done = modelctl("list", MODELCTL_REGISTRY=str(tmp_path / "elsewhere"))
    assert done.stdout.startswith(f"no models in {tmp_path / 'elsewhere'}")


def test_folder_and_server(tmp_path):
    """A folder and a cluster exclude each other, as options and as variables."""
    for rejected in (
        modelctl("list", "--registry", tmp_path, "--server", "auto"),
        modelctl("promote", "m", "1.0.0", "--registry", tmp_path, MODELCTL_SERVER="auto"),
    ):
        assert rejected.exit_code == 2
        assert "received both" in error_text(rejected)


def test_folder_imports(tmp_path):
    """A command on a folder imports neither Ray nor torch nor ONNX Runtime."""
    code = (
        "import sys; from typer.testing import CliRunner; from serve_app.cli import app\n"
        f"done = CliRunner().invoke(app, ['list', '--registry', {str(tmp_path)!r}])\n"
        "assert done.exit_code == 0, done.output\n"
        "print([name for name in ('ray', 'torch', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
