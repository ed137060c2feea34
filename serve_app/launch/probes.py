"""Probes of a running server that wait for a response, each in a thread of its own."""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from serve_app.launch.http_get import http_get
from serve_app.launch.readiness import partial_failure
from serve_app.launch.supervision import RUNNING, Component, Condition, Finding

PROBE_TIMEOUT_S = 5.0
"""A server that shares two cores with 30 busy processes responds within one second."""
PERIOD_S = 1.0

Findings = Mapping[Component, Finding]


class Probe:
    """Calls a function once per period, in a thread, and keeps its last findings."""

    def __init__(self, probe: Callable[[], Findings], period_s: float = PERIOD_S) -> None:
        self._probe = probe
        self._period_s = period_s
        self._ended = threading.Event()
        self.findings: Findings = {}
        """The last finding of each component that a call has returned."""
        # A daemon, since a call may still wait for a response when the launcher ends.
        threading.Thread(target=self._run, daemon=True).start()

    def end(self) -> None:
        """Make no further call."""
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self.findings = {**self.findings, **self._probe()}
            self._ended.wait(self._period_s)


def health_findings(url: str) -> Findings:
    """Return the condition of the server, and what its health check reports about others.

    Any response is one of a living server.
    """
    response = http_get(url, timeout_s=PROBE_TIMEOUT_S)
    if response is None:
        return {Component.HEALTH: Finding(Condition.SILENT)}
    health = RUNNING
    if response.status >= 500:
        health = Finding(Condition.FAILING, f"status {response.status}")
    try:
        problems = json.loads(response.body)["problems"]
    except (ValueError, LookupError, TypeError):
        return {Component.HEALTH: health}  # another application, or HAProxy itself
    named = ", ".join(map(str, problems))
    dependencies = Finding(Condition.FAILING, named) if problems else RUNNING
    return {Component.HEALTH: health, Component.DEPENDENCIES: dependencies}


def application_findings(states: Mapping[str, Any]) -> Findings:
    """Return whether a deployment has failed; nothing if Serve has not reported the states."""
    if not states:
        return {}
    problem = partial_failure(states)
    finding = RUNNING if problem is None else Finding(Condition.FAILING, problem)
    return {Component.APPLICATIONS: finding}
