"""SECURITY.md states the present access control as the code has it."""

import yaml

from serve_app.launch.environment import SERVER_ENVIRONMENT
from testkit.paths import ROOT
from testkit.snippets import page

PAGE = page("SECURITY.md")


def test_default_host():
    """The configuration listens on the address that the page states."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    assert f"`host: {config['http_options']['host']}`" in PAGE.text


def test_token_of_ray():
    """Ray requires a token and listens on loopback, as the page states."""
    assert SERVER_ENVIRONMENT["RAY_AUTH_MODE"] == "token"
    assert SERVER_ENVIRONMENT["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert "on loopback, and require a token" in PAGE.text
