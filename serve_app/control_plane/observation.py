"""What can be concluded from what Serve and the routers say. Pure: no IO, no Ray."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from serve_app.control_plane.ports import Launch, LaunchPhase
from serve_app.state.reports import RouterReport
from serve_app.state.serving import ServingState


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look around found."""

    loaded: frozenset[str]
    """Versions that every router can reach, and whose replicas are up with their settings."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why a version will not be loaded."""


def look(
    state: ServingState, launches: Mapping[str, Launch], reports: Sequence[RouterReport]
) -> Sight:
    """Return which versions of a state are loaded, and which will not be."""
    current = [each for each in reports if each.revision == state.revision]
    loaded, problems = set(), {}
    for version in state.versions:
        key = version.key
        reaches = [each.versions[key] for each in current if key in each.versions]
        for problem in (each.problem for each in reaches if each.problem is not None):
            problems[key] = problem
        is_up = True
        if version.settings.placement == "replicas":
            launch = launches.get(key, Launch(LaunchPhase.STARTING))
            is_up = launch.phase is LaunchPhase.RUNNING
            if launch.phase is LaunchPhase.FAILED:
                problems[key] = launch.problem
        reached = len(reaches) == len(reports) > 0 and all(each.loaded for each in reaches)
        if is_up and reached:
            loaded.add(key)
    return Sight(frozenset(loaded), problems)


def idle(reports: Sequence[RouterReport], limit_s: float) -> frozenset[str]:
    """Return the versions that nobody asked any router for during `limit_s`."""
    if not reports:
        return frozenset()
    known = frozenset.intersection(*(frozenset(each.versions) for each in reports))
    return known - {
        key
        for report in reports
        for key, reach in report.versions.items()
        if reach.idle_s < limit_s
    }


def behind(
    serving: Collection[str], reports: Sequence[RouterReport], revision: int
) -> frozenset[str]:
    """Return the serving routers that do not report `revision` or a newer one."""
    following = {each.router for each in reports if each.revision >= revision}
    return frozenset(serving) - following


def unwanted(state: ServingState, launches: Mapping[str, Launch], sight: Sight) -> frozenset[str]:
    """Return the versions whose replicas nobody is to use any more."""
    wanted = {
        each.key
        for each in state.versions
        # One that moved into the routers keeps its replicas until it is loaded there.
        if each.settings.placement == "replicas" or each.key not in sight.loaded
    }
    return frozenset(
        key
        for key, launch in launches.items()
        if key not in wanted and launch.phase is not LaunchPhase.STOPPING
    )
