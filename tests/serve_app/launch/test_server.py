"""The command of a server; tests/integration covers a real launch."""

from pathlib import Path

from serve_app.launch.config import read_config
from serve_app.launch.server import serve_command


def test_modules_of_the_working_directory(tmp_path, monkeypatch):
    """A module in the folder from which a server starts is not imported in place of ours."""
    bot = tmp_path / "bot"
    bot.mkdir()
    (bot / "registry.py").write_text("raise SystemExit('the module of the bot')")
    (bot / "serve_config.yaml").write_text(
        "applications: [{import_path: 'serve_app.app:build', args: {versions: [{model: m}]}}]"
    )
    monkeypatch.chdir(bot)
    launched = tmp_path / "launch"
    launched.mkdir()
    served = read_config(bot / "serve_config.yaml")
    command = serve_command(served, launched)
    assert command[1] == "-P"
    assert command[command.index("--app-dir") + 1] == str(launched)
    written = read_config(Path(command[command.index("run") + 1]))
    assert written.settings[0].registry_root == str(bot / "models")
