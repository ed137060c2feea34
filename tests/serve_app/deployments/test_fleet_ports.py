"""The fleet's ports on Ray Serve, as far as they are pure."""

import pytest
from ray.exceptions import RayTaskError

from registry.errors import StorageError
from serve_app.control_plane.ports import RouterReplicas
from serve_app.deployments.fleet_ports import ActorStateStore, router_replicas
from serve_app.errors import FleetUnavailableError


def details(**states):
    replicas = [{"replica_id": name, "state": state} for name, state in states.items()]
    routers = {"deployments": {"Router": {"replicas": replicas}, "Fleet": {"replicas": []}}}
    return {"applications": {"app": routers, "app:toy:1.0.0": {"deployments": {}}}}


@pytest.mark.parametrize("state", ["RUNNING", "RECOVERING", "UPDATING", "PENDING_MIGRATION"])
def test_routers_that_receive_requests_are_serving(state):
    """After a restart of Serve's controller, for example, recovering routers serve."""
    assert router_replicas(details(a=state), "app") == RouterReplicas(frozenset({"a"}))


def test_starting_routers_are_not_waited_for():
    """They read the state before they serve; the ones that stop may still serve a moment."""
    listed = router_replicas(details(a="STARTING", b="STOPPING", c="RUNNING", d="STOPPED"), "app")
    assert listed == RouterReplicas(frozenset({"c"}), frozenset({"b"}))


def test_application_that_is_being_deployed_has_no_routers():
    assert router_replicas({"applications": {}}, "app") == RouterReplicas(frozenset())


class FullRegistry:
    """A registry actor's handle whose disk takes no state."""

    def __init__(self):
        self.write_serving_state = self

    async def remote(self, *_):
        raise RayTaskError("write", "", StorageError("/models", "no space")).as_instanceof_cause()


async def test_state_that_cannot_be_stored():
    """A full disk is no defect of the fleet: the command fails with the folder and the remedy."""
    with pytest.raises(FleetUnavailableError, match=r"below /models: no space; .* free disk space"):
        await ActorStateStore(FullRegistry(), "app").write(None, 0)
