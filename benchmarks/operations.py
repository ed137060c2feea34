"""The effect of each operation on callers: failed requests, and the longest request's delay.

Eight callers send requests continuously, without retries. The usual p99 is that of the seconds just
before the operation. An operation ends when the requested state is up and the replaced processes
are gone. Each round starts its own cluster; of several rounds the worst figure of each kind counts.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil
import typer

from benchmarks.report import Report
from benchmarks.serving import NAME, Server, server, settings, until, window
from registry import ModelStage
from testkit.load import load

CONCURRENCY = 8
BEFORE_S = 8.0
AFTER_S = 3.0
RELOAD_GOAL_MS = 500.0
DEPLOY_GOAL_MS = 2000.0
VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")
PRODUCTION, STAGING, ADDED = {"version": "production"}, {"version": "staging"}, {"version": "1.4.0"}
SPARE_WORKERS = "others of Ray"


@dataclass(frozen=True)
class Operation:
    """One operation of an operator."""

    name: str
    goal_ms: float
    """The excess over the usual p99 that the longest request may have, in ms."""
    act: Callable[[], Awaitable[None]]
    """A function that performs the operation and returns when it has ended."""


@dataclass(frozen=True)
class Outcome:
    """The requests during one operation."""

    operation: str
    goal_ms: float
    took_s: float
    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    longest_ms: float
    failures: list[str]
    answered_by: dict[str, int]
    changed: dict[str, dict[str, list[int]]]
    """The ids of ended and of started processes, by role."""
    kept: dict[str, list[int]]
    """The ids of unchanged processes, by role."""

    @property
    def beyond_p99_ms(self) -> float:
        """Return the excess of the longest request over the usual p99, in ms."""
        return max(0.0, self.longest_ms - self.p99_ms)


def run(rounds: int = 3) -> Report:
    """Return each operation's worst figures over the rounds."""
    outcomes: list[Outcome] = []
    for _ in range(rounds):
        with server(VERSIONS) as running:
            outcomes += asyncio.run(_round(running))
    figures = {}
    for name in dict.fromkeys(outcome.operation for outcome in outcomes):
        same = [outcome for outcome in outcomes if outcome.operation == name]
        figures[name] = {
            "failed": sum(outcome.failed for outcome in same),
            "requests": sum(outcome.requests for outcome in same),
            "p99_ms": max(outcome.p99_ms for outcome in same),
            "longest_ms": max(outcome.longest_ms for outcome in same),
            "beyond_p99_ms": max(outcome.beyond_p99_ms for outcome in same),
            "goal_ms": same[0].goal_ms,
            "took_s": max(outcome.took_s for outcome in same),
        }
    rounds_kept = [
        {**vars(outcome), "beyond_p99_ms": outcome.beyond_p99_ms} for outcome in outcomes
    ]
    last = outcomes[-len(figures) :]
    notes = [
        f"{CONCURRENCY} callers without retries, worst of {rounds} rounds. "
        f"Processes that ended (-) and began (+) in the last round:",
        "",
        *(f"- {outcome.operation}: {_changes(outcome)}" for outcome in last),
    ]
    return Report(figures, {"concurrency": CONCURRENCY, "rounds": rounds_kept}, notes)


async def _round(running: Server) -> list[Outcome]:
    await running.registry.set_model_stage(NAME, "1.1.0", ModelStage.STAGING)
    await running.deploy(settings([PRODUCTION, STAGING]))
    outcomes = []
    for operation in _operations(running):
        outcomes.append(await _under_load(running, operation))
        typer.echo(_line(outcomes[-1]))
    return outcomes


def _operations(running: Server) -> Iterator[Operation]:
    """Yield the operations in an order in which each one's preconditions hold."""

    async def reload(version: str | None = None) -> None:
        await running.reload(version)
        await until(running.is_settled, "the server is settled after a reload")

    async def promote() -> None:
        await running.registry.promote_to_production(NAME, "1.3.0")
        await reload()

    async def roll_back() -> None:
        await running.registry.rollback(NAME)
        await reload()

    yield Operation("reload to a new version", RELOAD_GOAL_MS, lambda: reload("1.2.0"))
    yield Operation("promotion and reload", RELOAD_GOAL_MS, promote)
    yield Operation("rollback and reload", RELOAD_GOAL_MS, roll_back)
    deploys: Mapping[str, dict[str, Any]] = {
        "an added version": settings([PRODUCTION, STAGING, ADDED]),
        "a removed version": settings([PRODUCTION, STAGING]),
        "changed batching": settings([{**PRODUCTION, "batching": {"max_batch_size": 8}}, STAGING]),
        "more replicas": settings([{**PRODUCTION, "num_replicas": 2}, STAGING]),
        "placement: router": settings([{**PRODUCTION, "placement": "router"}, STAGING]),
        "placement: replicas": settings([PRODUCTION, STAGING]),
    }
    for what, args in deploys.items():
        yield Operation(f"deploy, {what}", DEPLOY_GOAL_MS, partial(running.deploy, args))


async def _under_load(running: Server, operation: Operation) -> Outcome:
    before = running.processes()
    async with load(running.cluster.url, window(), CONCURRENCY) as traffic:
        await asyncio.sleep(BEFORE_S)
        began_s = time.monotonic()
        await operation.act()
        took_s = time.monotonic() - began_s
        await asyncio.sleep(AFTER_S)
    changed, kept = _compare(before, running.processes())
    return Outcome(
        operation=operation.name,
        goal_ms=operation.goal_ms,
        took_s=took_s,
        requests=len(traffic.took_ms),
        failed=len(traffic.failures),
        p50_ms=traffic.percentile_ms(50, began_s),
        p99_ms=traffic.percentile_ms(99, began_s),
        longest_ms=traffic.longest_ms(began_s),
        failures=sorted(set(traffic.failures)),
        answered_by=dict(sorted(traffic.versions.items())),
        changed=changed,
        kept=kept,
    )


def _compare(
    before: Mapping[str, list[psutil.Process]], after: Mapping[str, list[psutil.Process]]
) -> tuple[dict[str, dict[str, list[int]]], dict[str, list[int]]]:
    """Return ended, started and unchanged processes by role, without Ray's spare workers."""
    changed, kept = {}, {}
    for name in sorted({*before, *after} - {SPARE_WORKERS}):
        # A process equals another of the same id only if it began at the same time.
        old, new = set(before.get(name, ())), set(after.get(name, ()))
        if old != new:
            ended, began = (
                sorted(one.pid for one in processes) for processes in (old - new, new - old)
            )
            changed[name] = {"ended": ended, "began": began}
        if old & new:
            kept[name] = sorted(process.pid for process in old & new)
    return changed, kept


def _changes(outcome: Outcome) -> str:
    changes = (
        f"{name} -{len(ids['ended'])} +{len(ids['began'])}" for name, ids in outcome.changed.items()
    )
    return ", ".join(changes) or "none"


def _line(outcome: Outcome) -> str:
    return (
        f"  {outcome.operation:28} {outcome.took_s:5.1f} s  failed {outcome.failed}/"
        f"{outcome.requests}  p99 {outcome.p99_ms:.0f} ms  longest {outcome.longest_ms:.0f} ms  "
        f"processes: {_changes(outcome)}"
    )
