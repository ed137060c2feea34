"""When the replicas of a version are launched."""

import pytest

from serve_app.control_plane.launching import LaunchSchedule, is_launch_due
from serve_app.control_plane.ports import Launch, LaunchPhase
from serve_app.settings import VersionSettings
from serve_app.state.serving import LaunchId, ServedVersion
from serve_app.timeouts import LAUNCH_RETRY_S
from testkit.models import metadata, toy


def version(launched=True, **settings):
    served = ServedVersion(
        metadata=metadata(), settings=VersionSettings(model="toy", version="1.0.0", **settings)
    )
    return served.model_copy(update={"launched": served.load}) if launched else served


@pytest.mark.parametrize(
    ("served", "phase", "waited_s", "due"),
    [
        (version(launched=False), None, 0.0, True),
        (version(), None, 0.0, True),
        (version(), LaunchPhase.STARTING, 1000.0, False),
        (version(), LaunchPhase.RUNNING, 1000.0, False),
        (version(launched=False), LaunchPhase.RUNNING, 0.0, True),
        (version(launched=False), LaunchPhase.STOPPING, 1000.0, False),
        (version(), LaunchPhase.FAILED, LAUNCH_RETRY_S - 1, False),
        (version(), LaunchPhase.FAILED, LAUNCH_RETRY_S, True),
        (version(launched=False, placement="router"), None, 1000.0, False),
    ],
)
def test_launch_is_due(served, phase, waited_s, due):
    launch = None if phase is None else Launch(phase)
    assert is_launch_due(served, launch, waited_s) is due


def test_schedule_counts_from_the_last_launch():
    now_s = 0.0
    schedule = LaunchSchedule(lambda: now_s)
    failed = Launch(LaunchPhase.FAILED)
    assert not schedule.is_due(version(), failed), "it may have failed a moment ago"
    now_s = LAUNCH_RETRY_S
    assert schedule.is_due(version(), failed)
    schedule.record(LaunchId(toy("1.0.0")))
    assert not schedule.is_due(version(), failed)
