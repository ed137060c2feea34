"""Conclusions from the launches and from the reports of the routers."""

import pytest

from serve_app.control_plane.observation import behind, idle, observe, unwanted
from serve_app.control_plane.ports import Launch, LaunchPhase
from serve_app.settings import AppSettings, VersionSettings
from serve_app.state.reports import Reach, RouterReport
from serve_app.state.serving import LaunchId, ServedVersion, ServingState
from testkit.models import metadata, toy

TOY = toy("1.0.0")
FIRST, CHANGED = LaunchId(TOY), LaunchId(TOY, "3f9a1c20")


def served(**settings):
    settings = VersionSettings(model="toy", version="1.0.0", **settings)
    version = ServedVersion(metadata=metadata(), settings=settings)
    return version.model_copy(update={"launched": version.load})


def state(version=None):
    version = version or served()
    return ServingState(
        revision=3,
        settings=AppSettings(versions=[version.settings]),
        versions=(version,),
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
    observation = observe(state(), {FIRST: Launch(phase)}, reports)
    assert (observation.loaded, observation.problems) == (loaded, {})
    assert observation.running == ({TOY} if phase is LaunchPhase.RUNNING else set())


def test_replicas_of_an_earlier_load_do_not_count():
    """A version is not loaded by replicas that were started with other settings."""
    other = served(num_threads=2)
    version = served().model_copy(update={"launched": other.load})
    observation = observe(state(version), {FIRST: Launch(LaunchPhase.RUNNING)}, [report()])
    assert observation.loaded == observation.running == frozenset()


def test_problems_come_from_serve_and_from_the_routers():
    failed = observe(state(), {FIRST: Launch(LaunchPhase.FAILED, "no module")}, [report()])
    assert failed.problems == {TOY: "no module"}
    inside = state(served(placement="router"))
    here = observe(inside, {}, [report(loaded=False, problem="out of memory")])
    assert (here.loaded, here.problems) == (frozenset(), {TOY: "out of memory"})


def test_version_is_idle_where_no_router_used_it():
    assert idle([report(idle_s=9), report("r1", idle_s=10)], 10) == frozenset()
    assert idle([report(idle_s=11), report("r1", idle_s=10)], 10) == {TOY}
    assert idle([], 10) == frozenset()


def test_silent_and_older_routers_are_behind():
    reports = [report("r0"), report("r1", revision=2), report("r2", revision=4)]
    assert behind({"r0", "r1", "r2", "r3"}, reports, 3) == {"r1", "r3"}


def test_replicas_without_a_version_are_unwanted():
    gone = LaunchId(toy("0.9.0"))
    launches = {FIRST: Launch(LaunchPhase.RUNNING), gone: Launch(LaunchPhase.FAILED)}
    assert unwanted(state(), launches) == {gone}
    assert unwanted(state(), {gone: Launch(LaunchPhase.STOPPING)}) == frozenset()


@pytest.mark.parametrize(
    ("changes", "launches"), [({"placement": "router"}, [FIRST]), ({}, [FIRST, CHANGED])]
)
def test_replicas_stay_until_they_are_replaced(changes, launches):
    """A version keeps its replicas until the changed load is in use in every router."""
    launches = dict.fromkeys(launches, Launch(LaunchPhase.RUNNING))
    changed = served(num_threads=2, **changes).model_copy(update={"digest": CHANGED.digest})
    replacing = changed.model_copy(update={"replaces": served()})
    assert unwanted(state(replacing), launches) == frozenset()
    assert unwanted(state(changed), launches) == {FIRST}
