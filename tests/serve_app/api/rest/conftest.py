"""The REST front end over ASGI, in front of a core in memory."""

import pytest
from starlette.testclient import TestClient

from serve_app.access.control import AccessControl
from serve_app.access.quotas import Limits
from serve_app.access.tokens import TokenTable
from serve_app.api.rest.app import build_rest_api
from tests.serve_app.api.rest.bodies import SETTINGS
from tests.serve_app.core import FakeBackend, FakeDependencies, FakeFleet, core


@pytest.fixture
def backend():
    return FakeBackend(1)


@pytest.fixture
def fleet():
    return FakeFleet()


@pytest.fixture
def problems():
    """The problems of components, by name."""
    return {}


@pytest.fixture
def observed():
    """Return the timing sections that the front end has reported."""
    return []


@pytest.fixture
def counted():
    """Return the paths and statuses that the front end has reported."""
    return []


@pytest.fixture
def control():
    """The access control of a server without tokens."""
    return AccessControl(TokenTable(), Limits(None, None))


@pytest.fixture
def api(backend, fleet, problems, observed, counted, control):
    count = lambda path, status: counted.append((path, status))  # noqa: E731
    services = core(old=backend, fleet=fleet, dependencies=FakeDependencies(problems)).services
    return build_rest_api(services, SETTINGS, observed.append, count, control)


@pytest.fixture
def http(api):
    return TestClient(api, "http://localhost", raise_server_exceptions=False)
