"""Decides when the replicas of a version are launched, and launched again after a failure."""

from collections.abc import Callable

from serve_app.control_plane.ports import Launch, LaunchPhase
from serve_app.state.serving import LaunchId, ServedVersion
from serve_app.timeouts import LAUNCH_RETRY_S


class LaunchSchedule:
    """Records when each version was last launched."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._launched_s: dict[LaunchId, float] = {}

    def is_due(self, version: ServedVersion, launch: Launch | None) -> bool:
        """Return whether a version of the state must be launched now, given its current launch."""
        waited_s = self._clock() - self._launched_s.setdefault(version.launch_id, self._clock())
        return is_launch_due(version, launch, waited_s)

    def record(self, launch_id: LaunchId) -> None:
        """Record that a version is launched now."""
        self._launched_s[launch_id] = self._clock()

    def forget(self, launch_id: LaunchId) -> None:
        """Drop the record of a version that has ended."""
        self._launched_s.pop(launch_id, None)


def is_launch_due(version: ServedVersion, launch: Launch | None, waited_s: float) -> bool:
    """Return whether a version must be launched, `waited_s` after its last launch."""
    if version.settings.placement == "router":
        return False
    if launch is None or launch.phase is LaunchPhase.STOPPING:
        # Replicas that stop must be gone first, which a later observation finds.
        return launch is None
    if version.launched != version.load:
        return True
    return launch.phase is LaunchPhase.FAILED and waited_s >= LAUNCH_RETRY_S
