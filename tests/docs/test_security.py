"""The threat model states the access control as the code has it."""

import re

import yaml

from serve_app.launch.environment import SERVER_ENVIRONMENT
from testkit.paths import ROOT
from testkit.snippets import page

PAGE = page("docs/security.md")


def test_default_host():
    """The configuration listens on the address that the page states."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    assert f"`host: {config['http_options']['host']}`" in PAGE.text


def test_token_of_ray():
    """Ray requires a token and listens on loopback, as the page states."""
    assert SERVER_ENVIRONMENT["RAY_AUTH_MODE"] == "token"
    assert SERVER_ENVIRONMENT["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert "on loopback, and require a token" in PAGE.text


def test_verification():
    """Each test and each target that verifies a claim exists."""
    section = PAGE.text.partition("## How it is verified")[2]
    paths = re.findall(r"`(tests/[^`]+)`", section)
    targets = re.findall(r"`make ([a-z]+)`", section)
    makefile = (ROOT / "Makefile").read_text()
    assert len(paths) >= 3
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert [target for target in targets if f"\n{target}: " not in makefile] == []
