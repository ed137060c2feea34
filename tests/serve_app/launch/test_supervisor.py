"""The loop that observes a server, with a clock of its own."""

import pytest

from serve_app.launch.supervision import RUNNING, Component, Condition, Finding
from serve_app.launch.supervisor import PERIOD_S, supervise

SILENT = Finding(Condition.SILENT)


class Server:
    """A server whose components change at given times."""

    def __init__(self, changes, stop_s):
        self.changes, self.stop_s = changes, stop_s
        self.now_s, self.lines, self.observed_s = 0.0, [], []

    def observe(self):
        self.observed_s.append(self.now_s)
        found = {Component.GCS: RUNNING, Component.HEALTH: RUNNING}
        for start_s, component, finding in self.changes:
            if self.now_s >= start_s and finding is None:
                found.pop(component)
            elif self.now_s >= start_s:
                found[component] = finding
        return found

    def sleep(self, seconds):
        self.now_s += seconds

    def run(self):
        return supervise(
            self.observe,
            self.lines.append,
            lambda: self.now_s >= self.stop_s,
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )


def test_stop():
    """Without a fault the loop observes every second and ends soon after a stop is requested."""
    server = Server([], 60.0)
    assert server.run() is None
    assert server.now_s == pytest.approx(60.0, abs=0.3)
    assert len(server.observed_s) == pytest.approx(60.0 / PERIOD_S, abs=11)
    assert server.lines == []


def test_fault():
    """A dead component ends the loop within a period, after its report."""
    server = Server([(20.0, Component.GCS, None)], 60.0)
    assert server.run().component is Component.GCS
    assert server.now_s == pytest.approx(20.0, abs=2 * PERIOD_S)
    assert server.lines[0].startswith("GCS: ended; ")


def test_slow_server():
    """A server that takes long to respond, and then responds, is not restarted."""
    changes = [
        (20.0, Component.HEALTH, SILENT),
        (45.0, Component.HEALTH, RUNNING),
        (50.0, Component.HEALTH, SILENT),
        (75.0, Component.HEALTH, RUNNING),
    ]
    server = Server(changes, 200.0)
    assert server.run() is None
    assert [line.split(" for ")[0].split(" after ")[0] for line in server.lines] == [
        "health check: no response",
        "health check: running again",
    ] * 2
