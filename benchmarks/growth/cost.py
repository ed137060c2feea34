"""The cost of one request to a server in one state."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from benchmarks.serving import Server
from benchmarks.serving_peers.checking import wait_until_ready
from benchmarks.serving_peers.wrk import Load, Request, run_wrk

ONE_CALLER, MANY_CALLERS = 1, 32
IDLE_S = 3.0
SETTLE_S = 2.0
"""The time for which a server is left idle after a change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one kind of request in one state of the server."""

    dimension: str
    variant: str
    size: int
    round: int
    one: Load
    """The load of one caller."""
    many: Load
    """The load of 32 callers."""
    cpu_ms: Mapping[str, float]
    """The processor time per request of 32 callers, by role."""
    idle_cores: float
    """The processor time per second without requests."""
    memory_mb: float
    """The PSS of all processes of the cluster."""

    @property
    def total_cpu_ms(self) -> float:
        """Return the processor time of all processes per request of 32 callers."""
        return sum(self.cpu_ms.values())

    def as_json(self) -> dict[str, object]:
        """Return the value as JSON."""
        return {
            "dimension": self.dimension,
            "variant": self.variant,
            "size": self.size,
            "round": self.round,
            "one": self.one.as_json(),
            "many": self.many.as_json(),
            "cpu_ms": dict(self.cpu_ms),
            "idle_cores": self.idle_cores,
            "memory_mb": self.memory_mb,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One state of a server."""

    dimension: str
    variant: str
    size: int
    request: Request
    """The request that is sent."""


def measure(running: Server, state: State, number: int, seconds: int) -> Cost:
    """Return the cost of a request; the server is in that state already.

    Raises:
        LoadError: not every request was answered.
    """
    url = running.cluster.url
    wait_until_ready(url, state.request)
    run_wrk(url, state.request, MANY_CALLERS, 1)
    time.sleep(SETTLE_S)
    before_s = sum(_cpu_s(running).values())
    time.sleep(IDLE_S)
    idle_cores = (sum(_cpu_s(running).values()) - before_s) / IDLE_S
    one = run_wrk(url, state.request, ONE_CALLER, seconds)
    before = _cpu_s(running)
    many = run_wrk(url, state.request, MANY_CALLERS, seconds)
    after = _cpu_s(running)
    return Cost(
        dimension=state.dimension,
        variant=state.variant,
        size=state.size,
        round=number,
        one=one,
        many=many,
        cpu_ms={
            role: (used_s - before.get(role, 0.0)) * 1e3 / many.requests
            for role, used_s in after.items()
        },
        idle_cores=idle_cores,
        memory_mb=_memory_mb(running.cluster.processes()),
    )


def _cpu_s(running: Server) -> dict[str, float]:
    """Return the processor time of the living processes by role, versions as one."""
    used: dict[str, float] = {}
    for name, processes in running.processes().items():
        role = "model replicas" if ":" in name else name
        for process in processes:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue  # one of Ray's spare workers; they come and go
            used[role] = used.get(role, 0.0) + times.user + times.system
    return used


def _memory_mb(processes: Sequence[psutil.Process]) -> float:
    total_mb = 0.0
    for process in processes:
        try:
            total_mb += process.memory_full_info().pss / 1e6
        except psutil.NoSuchProcess:
            continue  # the same
    return total_mb
