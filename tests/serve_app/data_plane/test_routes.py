"""From the name in a request to a version, and loading on demand."""

import pytest

from serve_app.errors import (
    NotRegisteredError,
    NotServedError,
    UnusableVersionError,
    VersionLoadingError,
)
from tests.serve_app.core import FakeFleet, core


async def test_on_demand_loading_must_be_allowed():
    """A version that is not served is loaded on demand only where the configuration allows it."""
    fleet = FakeFleet()
    with pytest.raises(NotServedError):
        await core(fleet=fleet).predict(model_version="2.0.0")
    assert fleet.requests == []
    allowed = core(fleet=fleet, loads_on_demand=True)
    with pytest.raises(VersionLoadingError, match=r"toy:2\.0\.0.*it is being loaded"):
        await allowed.predict(model_version="2.0.0")
    assert fleet.requests == [("toy", "2.0.0")]


async def test_stage_names_are_not_loaded_on_demand():
    """A reference that is not a version number is never loaded on demand."""
    fleet = FakeFleet()
    with pytest.raises(NotServedError):
        await core(fleet=fleet, loads_on_demand=True).predict(model_version="none")
    assert fleet.requests == []


async def test_unregistered_version_lists_the_served_ones():
    """The error of a version that is not registered lists the versions that are served."""
    fleet = FakeFleet(NotRegisteredError("toy", "2.0.0", "no such version"))
    with pytest.raises(NotServedError, match=r"served: toy:1\.0\.0, toy:1\.1\.0"):
        await core(fleet=fleet, loads_on_demand=True).predict(model_version="2.0.0")


async def test_unusable_version_is_not_a_request_error():
    """A registered version that does not load is reported as unavailable, with its problem."""
    fleet = FakeFleet(UnusableVersionError("toy", "2.0.0", "sha256 differs"))
    with pytest.raises(VersionLoadingError, match="sha256 differs"):
        await core(fleet=fleet, loads_on_demand=True).predict(model_version="2.0.0")
