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
    """Ray requires no token by default, as the page states."""
    assert SERVER_ENVIRONMENT["RAY_AUTH_MODE"] == "disabled"
    assert "no token by default" in PAGE.text
