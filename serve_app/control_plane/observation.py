"""Conclusions from what Serve and the routers report. Pure: no IO, no Ray."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from serve_app.control_plane.ports import Launch, LaunchPhase
from serve_app.state.reports import RouterReport
from serve_app.state.serving import LaunchId, ServingState
from serve_app.versions import VersionRef


@dataclass(frozen=True, slots=True)
class Observation:
    """Which versions of a state are loaded, and which cannot be."""

    loaded: frozenset[VersionRef]
    """The versions that every router reaches, and whose replicas run with their settings."""
    problems: Mapping[VersionRef, str] = field(default_factory=dict)
    """The reason why a version cannot be loaded."""
    running: frozenset[VersionRef] = frozenset()
    """The versions whose replicas all run with their settings, whether routers reach them or
    not."""


def observe(
    state: ServingState, launches: Mapping[LaunchId, Launch], reports: Sequence[RouterReport]
) -> Observation:
    """Return which versions of a state are loaded, and which cannot be."""
    current = [report for report in reports if report.revision == state.revision]
    loaded, running, problems = set(), set(), {}
    for version in state.versions:
        ref = version.ref
        reaches = [report.versions[ref] for report in current if ref in report.versions]
        for problem in (reach.problem for reach in reaches if reach.problem is not None):
            problems[ref] = problem
        is_up = True
        if version.settings.placement == "replicas":
            launch = launches.get(version.launch_id, Launch(LaunchPhase.STARTING))
            # Until the launch is recorded, replicas of an earlier load may run under this id.
            is_up = launch.phase is LaunchPhase.RUNNING and version.launched == version.load
            if launch.phase is LaunchPhase.FAILED:
                problems[ref] = launch.problem
        is_reached = len(reaches) == len(reports) > 0 and all(reach.loaded for reach in reaches)
        if is_up:
            running.add(ref)
        if is_up and is_reached:
            loaded.add(ref)
    return Observation(frozenset(loaded), problems, frozenset(running))


def idle(reports: Sequence[RouterReport], limit_s: float) -> frozenset[VersionRef]:
    """Return the versions that received no request in any router for `limit_s`."""
    if not reports:
        return frozenset()
    known = frozenset.intersection(*(frozenset(report.versions) for report in reports))
    return known - {
        ref
        for report in reports
        for ref, reach in report.versions.items()
        if reach.idle_s < limit_s
    }


def behind(
    expected: Collection[str], reports: Sequence[RouterReport], revision: int
) -> frozenset[str]:
    """Return the expected routers that do not report `revision` or a newer one."""
    following = {report.router for report in reports if report.revision >= revision}
    return frozenset(expected) - following


def unwanted(state: ServingState, launches: Mapping[LaunchId, Launch]) -> frozenset[LaunchId]:
    """Return the replicas that are to receive no further requests."""
    # A version that moves into the routers keeps its replicas until it is loaded there.
    wanted = {
        load.launch_id
        for version in state.versions
        for load in version.loads
        if load.settings.placement == "replicas"
    }
    return frozenset(
        launch_id
        for launch_id, launch in launches.items()
        if launch_id not in wanted and launch.phase is not LaunchPhase.STOPPING
    )
