"""The applications that serve versions."""

import pytest

from serve_app.deployments.model_server import application_name, launch_of
from serve_app.state.serving import LaunchId
from testkit.models import toy


@pytest.mark.parametrize(
    ("digest", "name"),
    [("", "trading-models:toy:1.0.0"), ("3f9a1c20", "trading-models:toy:1.0.0:3f9a1c20")],
)
def test_application_names_are_reversible(digest, name):
    """The name of an application leads back to the version and its load."""
    launch_id = LaunchId(toy("1.0.0"), digest)
    assert application_name("trading-models", launch_id) == name
    assert launch_of(name, "trading-models") == launch_id


@pytest.mark.parametrize("name", ["trading-models", "other:toy:1.0.0", "trading-models:canary"])
def test_other_applications_serve_no_version(name):
    """Applications of another name or form are left alone."""
    assert launch_of(name, "trading-models") is None
