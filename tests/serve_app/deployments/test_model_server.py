"""The applications that serve versions."""

import pytest

from serve_app.deployments.model_server import application_name, version_of
from testkit.models import toy


def test_application_names_are_reversible():
    """The name of a version's application leads back to the version."""
    name = application_name("trading-models", toy("1.0.0"))
    assert name == "trading-models:toy:1.0.0"
    assert version_of(name, "trading-models") == toy("1.0.0")


@pytest.mark.parametrize("name", ["trading-models", "other:toy:1.0.0", "trading-models:canary"])
def test_other_applications_serve_no_version(name):
    """Applications of another name or form are left alone."""
    assert version_of(name, "trading-models") is None
