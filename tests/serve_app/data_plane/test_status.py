"""The list of models and the health of a router."""

import pytest

from registry import ModelStage
from serve_app.data_plane.status import Health, ModelStatus
from serve_app.versions import VersionRef
from tests.serve_app.core import NEW, NOW, OLD, FakeBackend, FakeDependencies, core


def test_models_lists_every_served_version():
    """Every served version is listed with its stage and whether it is loaded."""
    assert core(new=FakeBackend(2, loaded=False)).status.models() == [
        ModelStatus(OLD, ModelStage.PRODUCTION, loaded=True),
        ModelStatus(NEW, ModelStage.STAGING, loaded=False),
    ]


@pytest.mark.parametrize(
    ("old_loaded", "new_loaded", "health"),
    [
        (True, True, Health.HEALTHY),
        (True, False, Health.DEGRADED),
        (False, True, Health.UNHEALTHY),
        (False, False, Health.UNHEALTHY),
    ],
)
def test_health_follows_the_default_version(old_loaded, new_loaded, health):
    """A router is unhealthy while requests that name no version cannot be served."""
    old, new = FakeBackend(1, loaded=old_loaded), FakeBackend(2, loaded=new_loaded)
    report = core(old, new).status.health()
    loaded = [("1.0.0", old_loaded), ("1.1.0", new_loaded)]
    assert report.health is health
    assert report.loaded == [VersionRef("toy", number) for number, is_loaded in loaded if is_loaded]
    assert report.experiments == []
    assert report.time == NOW
    assert report.uptime_s >= 0


def test_router_without_versions_is_unhealthy():
    """A router that serves no version yet is unhealthy."""
    assert core(versions=()).status.health().health is Health.UNHEALTHY


def test_problems_degrade():
    """A component's problem degrades a router that serves, and is reported with its reason."""
    status = core(new=FakeBackend(2, loaded=False)).status
    assert dict(status.health().problems) == {"toy:1.1.0": "no replica responds"}

    made = core(dependencies=FakeDependencies({"fleet": "it did not respond within 1 s"}))
    report = made.status.health()
    assert report.health is Health.DEGRADED
    assert dict(report.problems) == {"fleet": "it did not respond within 1 s"}


def test_failed_change_degrades():
    """A version that is served with its previous settings is loaded, and the reason is reported."""
    status = core(pending=["1.0.0"], problems={"1.0.0": "no module named torch"}).status
    report = status.health()
    assert report.health is Health.DEGRADED
    assert VersionRef("toy", "1.0.0") in report.loaded
    assert dict(report.problems) == {"toy:1.0.0": "no module named torch"}
    changed, other = status.models()
    assert (changed.loaded, changed.pending, changed.problem) == (
        True,
        True,
        "no module named torch",
    )
    assert (other.pending, other.problem) == (False, None)


def test_change_in_progress_is_no_problem():
    status = core(pending=["1.0.0"]).status
    assert status.health().health is Health.HEALTHY
    assert [model.pending for model in status.models()] == [True, False]


def test_problem_of_an_unhealthy_router():
    """A router that cannot serve is unhealthy, whatever else is wrong."""
    made = core(FakeBackend(1, loaded=False), dependencies=FakeDependencies({"fleet": "gone"}))
    assert made.status.health().health is Health.UNHEALTHY
