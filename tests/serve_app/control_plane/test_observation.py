"""Conclusions from the launches and from the reports of the routers."""

import pytest

from serve_app.control_plane.observation import Observation, behind, idle, observe, unwanted
from serve_app.control_plane.ports import Launch, LaunchPhase
from serve_app.settings import AppSettings, VersionSettings
from serve_app.state.reports import Reach, RouterReport
from serve_app.state.serving import ServedVersion, ServingState
from testkit.models import metadata, toy

TOY = toy("1.0.0")


def state(placement="replicas"):
    settings = VersionSettings(model="toy", version="1.0.0", placement=placement)
    return ServingState(
        revision=3,
        settings=AppSettings(versions=[settings]),
        versions=(ServedVersion(metadata=metadata(), settings=settings),),
        stages={},
        targets={},
    )


def report(router="r0", revision=3, loaded=True, problem=None, idle_s=0.0):
    return RouterReport(router, revision, {TOY: Reach(loaded, problem, idle_s)})


@pytest.mark.parametrize(
    ("phase", "reports", "loaded"),
    [
        (LaunchPhase.RUNNING, [report(), report("r1")], {TOY}),
        (LaunchPhase.RUNNING, [], set()),
        (LaunchPhase.RUNNING, [report(), report("r1", loaded=False)], set()),
        (LaunchPhase.RUNNING, [report(), report("r1", revision=2)], set()),
        (LaunchPhase.STARTING, [report()], set()),
    ],
    ids=["reached", "no router", "not by every router", "router behind", "starting"],
)
def test_version_is_loaded_where_every_router_reaches_it(phase, reports, loaded):
    assert observe(state(), {TOY: Launch(phase)}, reports) == Observation(frozenset(loaded), {})


def test_problems_come_from_serve_and_from_the_routers():
    failed = observe(state(), {TOY: Launch(LaunchPhase.FAILED, "no module")}, [report()])
    assert failed.problems == {TOY: "no module"}
    here = observe(state("router"), {}, [report(loaded=False, problem="out of memory")])
    assert here == Observation(frozenset(), {TOY: "out of memory"})


def test_version_is_idle_where_no_router_used_it():
    assert idle([report(idle_s=9), report("r1", idle_s=10)], 10) == frozenset()
    assert idle([report(idle_s=11), report("r1", idle_s=10)], 10) == {TOY}
    assert idle([], 10) == frozenset()


def test_silent_and_older_routers_are_behind():
    reports = [report("r0"), report("r1", revision=2), report("r2", revision=4)]
    assert behind({"r0", "r1", "r2", "r3"}, reports, 3) == {"r1", "r3"}


def test_replicas_without_a_version_are_unwanted():
    launches = {TOY: Launch(LaunchPhase.RUNNING), toy("0.9.0"): Launch(LaunchPhase.FAILED)}
    assert unwanted(state(), launches, Observation(frozenset())) == {toy("0.9.0")}
    stopping = {toy("0.9.0"): Launch(LaunchPhase.STOPPING)}
    assert unwanted(state(), stopping, Observation(frozenset())) == frozenset()


def test_replicas_stay_while_a_version_moves():
    """A version that moves into the routers keeps its replicas until it is loaded there."""
    launches = {TOY: Launch(LaunchPhase.RUNNING)}
    assert unwanted(state("router"), launches, Observation(frozenset())) == frozenset()
    assert unwanted(state("router"), launches, Observation(frozenset({TOY}))) == {TOY}
