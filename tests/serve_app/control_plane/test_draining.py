"""When replicas that receive no further requests end."""

from serve_app.control_plane.draining import Draining
from serve_app.state.serving import LaunchId
from serve_app.timeouts import DRAIN_LIMIT_S, DRAIN_S
from testkit.models import toy

TOY = LaunchId(toy("1.0.0"))


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def test_drain_lasts_for_requests_in_flight():
    clock = Clock()
    draining = Draining(clock)
    assert draining.drained({TOY}, revision=5, oldest=5) == []
    clock.now_s += DRAIN_S
    assert draining.drained({TOY}, revision=6, oldest=5) == [TOY]


def test_router_that_is_behind_extends_the_drain():
    """Up to a limit: a router that is lost for good must not keep replicas forever."""
    clock = Clock()
    draining = Draining(clock)
    draining.drained({TOY}, revision=5, oldest=4)
    clock.now_s += DRAIN_LIMIT_S - 1
    assert draining.drained({TOY}, revision=5, oldest=4) == []
    clock.now_s += 1
    assert draining.drained({TOY}, revision=5, oldest=4) == [TOY]


def test_version_that_is_wanted_again_drains_no_longer():
    clock = Clock()
    draining = Draining(clock)
    draining.drained({TOY}, revision=5, oldest=5)
    draining.drained(set(), revision=6, oldest=6)
    clock.now_s += DRAIN_S
    assert draining.drained({TOY}, revision=7, oldest=7) == []
