"""The decisions about a running server: what is reported, and when it is restarted."""

import pytest

from serve_app.launch.supervision import (
    EFFECTS,
    LONGEST_STEP_S,
    MAX_RESTARTS,
    RESTARTS_WINDOW_S,
    RUNNING,
    SILENT_LIMIT_S,
    STOPPED_LIMIT_S,
    Component,
    Condition,
    Finding,
    Supervision,
    advance,
    may_restart,
)

HEALTHY = dict.fromkeys(Component, RUNNING)
CORE = (
    Component.GCS,
    Component.RAYLET,
    Component.DASHBOARD_AGENT,
    Component.RUNTIME_ENV_AGENT,
)
STOPPED, SILENT = Finding(Condition.STOPPED), Finding(Condition.SILENT)
FAILING = Finding(Condition.FAILING, "status 503")


class Watch:
    """Observes a server once per second with a clock of its own."""

    def __init__(self):
        self.supervision, self.now_s = Supervision(), 100.0
        self.lines, self.restart = [], None
        self.see()

    def see(self, passed_s=1.0, without=(), **changes):
        """Observe a healthy server apart from these components."""
        changed = {Component[name]: finding for name, finding in changes.items()}
        observation = {**HEALTHY, **changed}
        for component in without:
            del observation[component]
        self.now_s += passed_s
        self.supervision, step = advance(self.supervision, observation, self.now_s)
        self.lines += step.lines
        self.restart = self.restart or step.restart
        return self

    def see_for(self, seconds, **changes):
        for _second in range(seconds):
            self.see(**changes)
        return self


def test_healthy_server():
    """Nothing is reported about a healthy server."""
    watch = Watch().see_for(1000)
    assert (watch.lines, watch.restart) == ([], None)


@pytest.mark.parametrize("component", [*CORE, Component.DRIVER])
def test_ended_component(component):
    """The end of a component that nothing restarts is reported and repaired at once."""
    watch = Watch().see(without=[component])
    assert watch.lines == [f"{component}: ended; {EFFECTS[component]}"]
    assert watch.restart.component is component


def test_fate_of_the_agents():
    """All components that ended together are reported, and the server is restarted once."""
    watch = Watch().see(without=CORE)
    assert [line.split(":")[0] for line in watch.lines] == list(CORE)
    assert watch.restart.summary == "GCS: ended"


def test_component_that_never_existed():
    """A component that was never observed, such as HAProxy where it is turned off, cannot end."""
    supervision, step = advance(Supervision(), {Component.GCS: RUNNING}, 1.0)
    assert not step.lines
    _, step = advance(supervision, {Component.GCS: RUNNING}, 2.0)
    assert not step.lines
    assert step.restart is None


@pytest.mark.parametrize("component", CORE)
def test_stopped_component(component):
    """A component that a signal has stopped is reported soon, and repaired after the limit."""
    watch = Watch().see_for(4, **{component.name: STOPPED})
    assert watch.lines == [f"{component}: stopped by a signal for 2 s; {EFFECTS[component]}"]
    watch.see_for(int(STOPPED_LIMIT_S) - 4, **{component.name: STOPPED})
    assert watch.restart is None
    watch.see(**{component.name: STOPPED})
    assert watch.restart.summary == f"{component}: stopped by a signal for 12 s"


def test_continued_component():
    """A component that is continued before the limit is not repaired, and its time restarts."""
    watch = Watch().see_for(10, RAYLET=STOPPED).see().see_for(10, RAYLET=STOPPED).see()
    assert watch.restart is None
    assert watch.lines[1] == "raylet: running again after 9 s"


def test_haproxy_is_left_to_serve():
    """A dead or stopped HAProxy is reported, while Serve restarts it."""
    watch = Watch()
    for _second in range(4):
        watch.see(without=[Component.HAPROXY])
    watch.see().see_for(600, HAPROXY=STOPPED)
    assert watch.restart is None
    assert watch.lines == [
        f"HAProxy: ended for 2 s; {EFFECTS[Component.HAPROXY]}",
        "HAProxy: running again after 3 s",
        f"HAProxy: stopped by a signal for 2 s; {EFFECTS[Component.HAPROXY]}",
    ]


def test_reload_of_haproxy():
    """A moment without HAProxy, as between two of its processes, is not reported."""
    assert Watch().see(without=[Component.HAPROXY]).see().lines == []


def test_silent_server():
    """A server without any response is reported, and restarted after the limit."""
    watch = Watch().see_for(int(SILENT_LIMIT_S), HEALTH=SILENT)
    assert watch.lines == [
        f"health check: no response for 5 s; {EFFECTS[Component.HEALTH]}",
    ]
    assert watch.restart is None
    assert watch.see(HEALTH=SILENT).restart.component is Component.HEALTH


def test_slow_server():
    """A server that responds once within the limit, again and again, is not restarted."""
    watch = Watch()
    for _repeat in range(20):
        watch.see_for(int(SILENT_LIMIT_S) - 1, HEALTH=SILENT).see()
    assert watch.restart is None


@pytest.mark.parametrize("component", ["HEALTH", "DEPENDENCIES", "APPLICATIONS"])
def test_failing_component(component):
    """A 503, a failed commit or a failed deployment is reported once; a restart is no remedy."""
    watch = Watch().see_for(3600, **{component: FAILING})
    assert watch.restart is None
    (line,) = watch.lines
    assert "failing" in line
    assert "(status 503)" in line


def test_stopped_driver():
    """A stopped driver is reported only: the cluster serves without it."""
    watch = Watch().see_for(3600, DRIVER=STOPPED)
    assert watch.restart is None
    assert len(watch.lines) == 1


def test_changed_reason():
    """A fault with another reason is reported again."""
    other = Finding(Condition.FAILING, "Model is UNHEALTHY: no CPU")
    watch = Watch().see_for(3, APPLICATIONS=FAILING).see_for(3, APPLICATIONS=other).see()
    assert [line.split(";")[0] for line in watch.lines] == [
        "applications: failing (status 503)",
        "applications: failing (Model is UNHEALTHY: no CPU)",
        "applications: running again after 2 s",
    ]


def test_suspended_supervisor():
    """The time for which the supervisor was suspended does not count against the server."""
    watch = Watch().see(RAYLET=STOPPED, HEALTH=SILENT)
    watch.see(passed_s=3600.0, RAYLET=STOPPED, HEALTH=SILENT)
    assert watch.restart is None
    assert watch.supervision.faults[Component.RAYLET].lasted_s == LONGEST_STEP_S


def test_restarts():
    """The server is restarted at most five times within ten minutes."""
    times_s = [1000.0 + 60.0 * index for index in range(MAX_RESTARTS)]
    assert may_restart([], 1000.0)
    assert may_restart(times_s[:-1], 1300.0)
    assert not may_restart(times_s, 1300.0)
    assert not may_restart(times_s, 1000.0 + RESTARTS_WINDOW_S - 1.0)
    assert may_restart(times_s, 1000.0 + RESTARTS_WINDOW_S)
