"""Observes the processes of a running server."""

from collections.abc import Mapping
from contextlib import suppress

import psutil

from serve_app.launch.process_tree import is_in_session
from serve_app.launch.supervision import RUNNING, Component, Condition, Finding

NAMES: Mapping[str, Component] = {
    "gcs_server": Component.GCS,
    "raylet": Component.RAYLET,
    "ray::DashboardA": Component.DASHBOARD_AGENT,
    "ray::RuntimeEnv": Component.RUNTIME_ENV_AGENT,
    "haproxy": Component.HAPROXY,
}
"""The components by the start of their process's name, of which the system keeps 15 characters."""


def observe_processes(session: int) -> dict[Component, Finding]:
    """Return the components that have a process, and whether one of these is not stopped.

    Args:
        session: the session of the server's processes, which is the process id of the driver.
    """
    found: dict[Component, Finding] = {}
    for process in psutil.process_iter():
        if not is_in_session(process, session):
            continue
        with suppress(psutil.NoSuchProcess):  # it has just ended
            component = _component_of(process, session)
            if component is None:
                continue
            # A debugger or a profiler, which also stops a process, shows as tracing-stop.
            if process.status() != psutil.STATUS_STOPPED:
                found[component] = RUNNING
            else:
                found.setdefault(component, Finding(Condition.STOPPED))
    return found


def _component_of(process: psutil.Process, session: int) -> Component | None:
    if process.pid == session:
        return Component.DRIVER
    name = process.name()
    return next((part for start, part in NAMES.items() if name.startswith(start)), None)
