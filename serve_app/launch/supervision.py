"""Decides what to do about the components of a running server; pure.

Ray and Serve restart routers, models, actors, the controller and HAProxy. Nothing restarts the
components that every other one depends on, so the whole server is restarted when one of them ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

MAX_RESTARTS = 5
RESTARTS_WINDOW_S = 600.0
"""At most MAX_RESTARTS within this time: more would only hide a cause that persists."""

STOPPED_LIMIT_S = 12.0
"""The time for which a component may be stopped by a signal. Load never stops a process, so the
limit only leaves time for a person who has stopped it to continue it; with the start of a new
cluster the server is back within 30 s."""

SILENT_LIMIT_S = 30.0
"""The time without any response to a health check after which the server is restarted. Serve
replaces a dead HAProxy or router within 5 s on a quiet machine, and a busy one delays a response by
seconds, so a shorter limit would restart servers that recover by themselves."""

LONGEST_STEP_S = 5.0
"""The part of a pause between two observations that counts: the supervisor itself may have been
suspended, during which it observed nothing."""


class Component(StrEnum):
    """A part of a running server."""

    GCS = "GCS"
    RAYLET = "raylet"
    DASHBOARD_AGENT = "dashboard agent"
    RUNTIME_ENV_AGENT = "runtime-env agent"
    DRIVER = "driver"
    """The process `serve run`, which owns the cluster."""
    HAPROXY = "HAProxy"
    HEALTH = "health check"
    """The HTTP server, through its own port."""
    DEPENDENCIES = "dependencies"
    """The storage, which commits a canary, the recording, the registry and the fleet, as a router's
    health check reports them."""
    APPLICATIONS = "applications"
    """The deployments, as Serve reports them."""


class Condition(StrEnum):
    """The condition of a component."""

    RUNNING = "running"
    ENDED = "ended"
    STOPPED = "stopped by a signal"
    SILENT = "no response"
    FAILING = "failing"
    """It responds that it cannot do its work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The condition of a component at one moment."""

    condition: Condition
    detail: str = ""
    """The reason that the component reports, if any."""


RUNNING = Finding(Condition.RUNNING)

Observation = Mapping[Component, Finding]
"""The components that exist at one moment; one that existed before has ended."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a fault may last, in seconds."""

    report_s: float
    restart_s: float | None
    """None if Ray or Serve repairs the fault, or if a restart does not."""


_REPORT_ONLY = Limits(2.0, None)
_CORE = (
    Component.GCS,
    Component.RAYLET,
    Component.DASHBOARD_AGENT,
    Component.RUNTIME_ENV_AGENT,
)

LIMITS: Mapping[tuple[Component, Condition], Limits] = MappingProxyType(
    {
        **{(component, Condition.ENDED): Limits(0.0, 0.0) for component in _CORE},
        **{(component, Condition.STOPPED): Limits(2.0, STOPPED_LIMIT_S) for component in _CORE},
        (Component.DRIVER, Condition.ENDED): Limits(0.0, 0.0),
        (Component.HEALTH, Condition.SILENT): Limits(5.0, SILENT_LIMIT_S),
        (Component.HEALTH, Condition.FAILING): Limits(5.0, None),
        (Component.APPLICATIONS, Condition.FAILING): Limits(0.0, None),
    }
)
"""The limits of every fault that differ from `_REPORT_ONLY`."""

EFFECTS: Mapping[Component, str] = MappingProxyType(
    {
        Component.GCS: "Ray repairs nothing without it, and ends after a minute",
        Component.RAYLET: "every router and model ends with it",
        Component.DASHBOARD_AGENT: "the raylet ends with it, and so do all routers and models",
        Component.RUNTIME_ENV_AGENT: "the raylet ends with it, and so do all routers and models",
        Component.DRIVER: "the cluster ends with it",
        Component.HAPROXY: "its spare serves; once that has ended too, no request reaches a router",
        Component.HEALTH: "requests for predictions fail",
        Component.DEPENDENCIES: "predictions continue; the logs of the router state the reason",
        Component.APPLICATIONS: "the rest is still served",
    }
)
"""The effect of a fault, for the operator."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A condition other than RUNNING, and how long it has lasted."""

    component: Component
    finding: Finding
    lasted_s: float = 0.0
    is_reported: bool = False

    @property
    def limits(self) -> Limits:
        """How long it may last."""
        return LIMITS.get((self.component, self.finding.condition), _REPORT_ONLY)

    @property
    def summary(self) -> str:
        """The component and its condition, such as `raylet: ended`."""
        parts = [f"{self.component}: {self.finding.condition}"]
        if self.lasted_s >= 1.0:
            parts.append(f"for {self.lasted_s:.0f} s")
        if self.finding.detail:
            parts.append(f"({self.finding.detail})")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Supervision:
    """What the observations of one server have shown so far."""

    known: frozenset[Component] = frozenset()
    """The components that have been observed; one that never existed cannot end."""
    faults: Mapping[Component, Fault] = field(default_factory=dict)
    observed_s: float | None = None
    """The monotonic time of the last observation, in seconds."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do after an observation."""

    lines: Sequence[str] = ()
    """The events to report."""
    restart: Fault | None = None
    """The fault for which the server must be restarted."""


def advance(
    before: Supervision, observation: Observation, now_s: float
) -> tuple[Supervision, Step]:
    """Return what is known after an observation at the monotonic time `now_s`, and what to do."""
    known = before.known | observation.keys()
    passed_s = 0.0 if before.observed_s is None else now_s - before.observed_s
    faults: dict[Component, Fault] = {}
    lines: list[str] = []
    for component in Component:
        if component not in known:
            continue
        finding = observation.get(component, Finding(Condition.ENDED))
        previous = before.faults.get(component)
        if finding.condition is Condition.RUNNING:
            if previous is not None and previous.is_reported:
                lines.append(f"{component}: running again after {previous.lasted_s:.0f} s")
            continue
        fault = Fault(component, finding)
        if previous is not None and previous.finding == finding:
            lasted_s = previous.lasted_s + min(passed_s, LONGEST_STEP_S)
            fault = replace(previous, lasted_s=lasted_s)
        if fault.lasted_s >= fault.limits.report_s and not fault.is_reported:
            lines.append(f"{fault.summary}; {EFFECTS[component]}")
            fault = replace(fault, is_reported=True)
        faults[component] = fault
    due = [fault for fault in faults.values() if _is_due(fault)]
    return Supervision(known, faults, now_s), Step(lines, due[0] if due else None)


def may_restart(restarts_s: Sequence[float], now_s: float) -> bool:
    """Return whether another restart is allowed after those at the monotonic times `restarts_s`."""
    recent = [time_s for time_s in restarts_s if now_s - time_s < RESTARTS_WINDOW_S]
    return len(recent) < MAX_RESTARTS


def _is_due(fault: Fault) -> bool:
    return fault.limits.restart_s is not None and fault.lasted_s >= fault.limits.restart_s
