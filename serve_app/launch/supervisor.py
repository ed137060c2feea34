"""Observes a running server until a stop is requested or a fault requires a restart."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serve_app.launch.banner import HEALTH_PATH
from serve_app.launch.components import observe_processes
from serve_app.launch.probes import Probe, application_findings, health_findings
from serve_app.launch.server import Server
from serve_app.launch.supervision import Fault, Observation, Supervision, advance

PERIOD_S = 1.0
"""The period of the observations; costs 5 ms of processor time each."""
POLL_S = 0.2
APPLICATIONS_PERIOD_S = 5.0


def supervise(
    observe: Callable[[], Observation],
    report: Callable[[str], None],
    is_stopping: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Fault | None:
    """Return the fault for which the server must be restarted; None once a stop is requested.

    Args:
        observe: returns the present condition of the components.
        report: receives every event, as one line.
        is_stopping: returns whether a stop is requested; called every POLL_S.
        clock: returns monotonic seconds.
        sleep: waits for a number of seconds.
    """
    observed = Supervision()
    next_s = clock()
    while not is_stopping():
        if clock() >= next_s:
            observed, step = advance(observed, observe(), clock())
            for line in step.lines:
                report(line)
            if step.restart is not None:
                return step.restart
            next_s = clock() + PERIOD_S
        sleep(POLL_S)
    return None


@contextmanager
def observing(server: Server) -> Iterator[Callable[[], Observation]]:
    """Yield a function that returns the condition of a server's components without waiting."""
    url = server.url + HEALTH_PATH
    probes = (
        Probe(lambda: health_findings(url)),
        Probe(lambda: application_findings(server.application_states()), APPLICATIONS_PERIOD_S),
    )

    def observe() -> Observation:
        found = observe_processes(server.session)
        for probe in probes:
            found.update(probe.findings)
        return found

    try:
        yield observe
    finally:
        for probe in probes:
            probe.end()
