"""The registry or server that a command works on."""

import subprocess
import sys
import time

from testkit.fake_server import MODELS, RELOAD, Reply
from tests.serve_app.cli.commands import error_text, modelctl, modelctl_beside


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


async def test_command_reports_that_it_waits(server, monkeypatch):
    """Until a slow server responds, the user reads that the command waits."""
    monkeypatch.setattr("serve_app.cli.connection.NOTICE_PERIOD_S", 0.05)
    server.script(MODELS, Reply([]))
    server.script(RELOAD, slow)
    done = await modelctl_beside("reload", "m", "--url", server.url)
    assert f"waiting for {server.url}: no result after 0 s" in done.stderr
    assert (done.exit_code, done.stdout) == (0, "m is reloaded\n")


def slow(document):
    """Return the reply to a reload after a while."""
    time.sleep(0.3)
    return Reply({"status": "success"})


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
