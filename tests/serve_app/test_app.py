"""The checks of the composition root; tests/integration deploys the graph itself."""

import pytest

from serve_app.app import require_ray_token
from serve_app.errors import SettingsError


@pytest.mark.parametrize("environment", [{}, {"RAY_AUTH_MODE": "disabled"}])
def test_cluster_without_token(environment):
    """A cluster whose ports run code without a token serves nothing."""
    with pytest.raises(SettingsError, match=r"RAY_AUTH_MODE: expected token .*modelctl env"):
        require_ray_token(environment)


def test_cluster_with_token():
    """A cluster that requires a token is accepted."""
    require_ray_token({"RAY_AUTH_MODE": "token"})
