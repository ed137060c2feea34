"""Causes each fault under load, and compares the database with what was acknowledged.

The settings are those of `serve_config.yaml`; everything that the cluster writes is on a small file
system of its own, which the first fault fills. Requires root.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
import typer

from benchmarks.faults import default_settings
from benchmarks.report import Report
from benchmarks.serving import APPLICATION, NAME, Server, server, until
from benchmarks.storage_faults.faults import (
    CutNetwork,
    Fault,
    FullDisk,
    LockedDatabase,
    StoppedPostgresql,
)
from benchmarks.storage_faults.traffic import CALLERS, PAUSE_S, REPORTERS, Call, Callers, Traffic
from registry import ModelStage
from registry.errors import RegistryError
from registry.layout import Layout
from serve_app.experiments.store import ExperimentStore
from testkit import network
from testkit.cluster import Cluster
from testkit.mounts import private_mounts, small_disk
from testkit.postgresql import PostgresqlServer

BEFORE_S = 5.0
AFTER_S = 90.0
"""Longest wait for everything to be healthy and acknowledged again."""
QUIET_S = 2.0
"""Time for which everything is healthy before the next fault."""
ROUNDS = 3
DISK_MB = 400
NODE_START_S = 15.0
"""Time in which the second node joins."""
PARTS = ("one node", "two nodes")
PRODUCTION, STAGING, UNUSED = "1.0.0", "1.1.0", "1.2.0"


@dataclass(frozen=True)
class Observed:
    """What happened during one fault."""

    fault: str
    began_s: float
    ended_s: float
    traffic: Traffic
    stored: Mapping[str, float | None]
    """The stored predictions and their outcomes."""
    commands: Sequence[str]
    """The responses to commands during the fault."""

    def figures(self) -> dict[str, float]:
        """Return the figures of this fault."""
        predictions, traffic = self.traffic.predictions, self.traffic
        during = [call for call in predictions if self._is_during(call)]
        before = [call.took_s for call in predictions if call.began_s < self.began_s - 0.5]
        outcomes = [call for call in traffic.outcomes if self._is_during(call)]
        healthy = [at_s for at_s, status in traffic.health if status == "healthy"]
        others = [at_s for at_s, status in traffic.health if status != "healthy"]
        last_healthy_s = max(
            (at_s for at_s in healthy if at_s < self.ended_s), default=self.began_s
        )
        return {
            "predictions": len(during),
            "failed": sum(call.result != "ok" for call in during),
            "longest_ms": max(call.took_s for call in during) * 1e3,
            "p99_before_ms": float(np.percentile(before, 99)) * 1e3,
            "p99_during_ms": float(np.percentile([call.took_s for call in during], 99)) * 1e3,
            "unrecorded": len(traffic.answered - self.stored.keys()),
            "outcomes": len(traffic.acknowledged),
            "lost": sum(
                self.stored.get(prediction_id) != market_return
                for prediction_id, market_return in traffic.acknowledged.items()
            ),
            "refused": sum(call.result != "ok" for call in outcomes),
            "longest_outcome_s": max((call.took_s for call in outcomes), default=0.0),
            "degraded_after_s": max(0.0, last_healthy_s - self.began_s),
            "recovered_after_s": max(0.0, max(others, default=0.0) - self.ended_s),
        }

    def responses(self) -> dict[str, int]:
        """Return how often each failure of an outcome or a prediction was seen."""
        calls = [*self.traffic.outcomes, *self.traffic.predictions]
        return dict(Counter(call.result[:400] for call in calls if call.result != "ok"))

    def _is_during(self, call: Call) -> bool:
        return call.began_s + call.took_s >= self.began_s and call.began_s <= self.ended_s


def run(rounds: int = ROUNDS, parts: Sequence[str] = PARTS) -> Report:
    """Return the worst figures of each fault over the rounds."""
    private_mounts()
    observed: list[Observed] = []
    if PARTS[0] in parts:
        observed += _on_one_node(rounds)
    if PARTS[1] in parts:
        observed += _on_two_nodes(rounds)
    return _report(observed, rounds)


def _on_one_node(rounds: int) -> list[Observed]:
    """Fill the disk, lock the database, and stop PostgreSQL."""
    observed: list[Observed] = []
    with (
        tempfile.TemporaryDirectory(prefix="tb-postgresql-") as folder,
        server(
            [PRODUCTION, STAGING, UNUSED], disk=lambda path: small_disk(path, DISK_MB)
        ) as running,
    ):
        disk = running.cluster.folder
        database = Layout(disk / "models").experiments(APPLICATION)
        asyncio.run(running.registry.set_model_stage(NAME, STAGING, ModelStage.STAGING))
        url = f"sqlite:///{database}"
        asyncio.run(running.deploy(default_settings()))
        for number in range(rounds):
            for name, fault in (
                ("disk full", FullDisk(disk)),
                ("database locked", LockedDatabase(database)),
            ):
                observed.append(asyncio.run(_one(running, name, fault, url, number)))
        postgresql = PostgresqlServer(Path(folder))
        try:
            url = postgresql.create_schema()
            settings = {**default_settings(), "experiments": {"database_url": url}}
            asyncio.run(running.deploy(settings))
            for number in range(rounds):
                for name, lasts_s in (("PostgreSQL stopped", 10.0), ("PostgreSQL restarted", 0.0)):
                    stopped = StoppedPostgresql(postgresql, lasts_s)
                    observed.append(asyncio.run(_one(running, name, stopped, url, number)))
        finally:
            postgresql.kill()
    return observed


def _on_two_nodes(rounds: int) -> list[Observed]:
    """Cut the network between the head and a node with a router and replicas."""
    observed: list[Observed] = []
    with (
        tempfile.TemporaryDirectory(prefix="tb-far-") as folder,
        network.two_hosts(),
        server(
            [PRODUCTION, STAGING, UNUSED],
            make_cluster=lambda path: Cluster(path, is_multi_node=True, node_address=network.HEAD),
        ) as running,
        network.supervised_node(running.cluster, Path(folder)),
    ):
        asyncio.run(running.registry.set_model_stage(NAME, STAGING, ModelStage.STAGING))
        database = Layout(running.cluster.folder / "models").experiments(APPLICATION)
        time.sleep(NODE_START_S)
        asyncio.run(running.deploy({**default_settings(), "access": {"anonymous": True}}))
        typer.echo(f"  {_places(running)}")
        for number in range(rounds):
            for name, lasts_s in (("network cut for 10 s", 10.0), ("network cut for 60 s", 60.0)):
                cut = CutNetwork(lasts_s)
                url = f"sqlite:///{database}"
                observed.append(asyncio.run(_one(running, name, cut, url, number)))
                typer.echo(f"  {_places(running)}")
    return observed


def _places(running: Server) -> Mapping[str, list[str]]:
    """Return the addresses of the nodes on which the replicas of each deployment run."""
    return {
        f"{name} {deployment}": sorted(replica["node_ip"] for replica in details["replicas"])
        for name, application in running.applications().items()
        for deployment, details in application["deployments"].items()
    }


async def _one(running: Server, name: str, fault: Fault, url: str, number: int) -> Observed:
    """Return what the callers saw of one fault."""
    commands: list[str] = []
    async with Callers(running.cluster.url) as traffic:
        await asyncio.sleep(BEFORE_S)
        began_s = time.monotonic()
        await asyncio.to_thread(fault.begin)
        sent = asyncio.create_task(_send_commands(running, commands, number))
        while time.monotonic() - began_s < fault.lasts_s:
            await asyncio.to_thread(fault.hold)
            await asyncio.sleep(0.2)
        await asyncio.to_thread(fault.end)
        ended_s = time.monotonic()
        await sent
        with suppress(TimeoutError):
            await until(lambda: _is_recovered(traffic, ended_s), "recovered", AFTER_S)
    stored = await asyncio.to_thread(_stored, url)
    outcome = Observed(name, began_s, ended_s, traffic, stored, commands)
    typer.echo(_line(outcome))
    return outcome


def _is_recovered(traffic: Traffic, ended_s: float) -> bool:
    """Return whether everything is healthy, and an outcome was acknowledged after the fault."""
    since_s = max(ended_s, time.monotonic() - QUIET_S)
    recent = [status for at_s, status in traffic.health if at_s >= since_s]
    return (
        time.monotonic() > ended_s + QUIET_S
        and bool(recent)
        and set(recent) == {"healthy"}
        and any(call.began_s > ended_s and call.result == "ok" for call in traffic.outcomes)
    )


def _stored(url: str) -> dict[str, float | None]:
    with ExperimentStore(url) as store:
        return {
            entry.prediction.prediction_id: None
            if entry.outcome is None
            else entry.outcome.market_return
            for entry in store.predictions()
        }


async def _send_commands(running: Server, responses: list[str], number: int) -> None:
    """Register a version, change one, create an experiment and load a version."""
    experiment = {
        "experiment_id": f"during-{time.time_ns()}",
        "control_model_name": NAME,
        "control_model_version": PRODUCTION,
        "treatment_model_name": NAME,
        "treatment_model_version": STAGING,
    }
    try:
        await running.registry.update_metrics(NAME, UNUSED, {"round": number})
        responses.append("metrics: ok")
    except RegistryError as error:
        responses.append(f"metrics: {error}")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        for endpoint, body in (
            ("ab-test/create", experiment),
            (f"ab-test/{experiment['experiment_id']}/stop", {}),
            ("models/reload", {"model_name": NAME, "version": UNUSED}),
        ):
            began_s = time.monotonic()
            url = f"{running.cluster.url}/api/ml/{endpoint}"
            try:
                async with session.post(url, json=body) as response:
                    result = f"{response.status} {(await response.text())[:400]}"
            except aiohttp.ClientError as error:
                result = repr(error)
            took_s = time.monotonic() - began_s
            name = endpoint.replace(str(experiment["experiment_id"]), "ID")
            responses.append(f"{name} after {took_s:.1f} s: {result}")


def _line(outcome: Observed) -> str:
    figures = "  ".join(f"{key} {value:.2f}" for key, value in outcome.figures().items())
    responses = [f"    {number} x {text}" for text, number in outcome.responses().items()]
    commands = [f"    {text}" for text in outcome.commands]
    return "\n".join([f"  {outcome.fault:20} {figures}", *responses, *commands])


def _report(outcomes: Sequence[Observed], rounds: int) -> Report:
    figures = {}
    responses: dict[str, dict[str, int]] = {}
    for fault in dict.fromkeys(outcome.fault for outcome in outcomes):
        same = [outcome for outcome in outcomes if outcome.fault == fault]
        found = [outcome.figures() for outcome in same]
        figures[fault] = {key: _combined(key, [one[key] for one in found]) for key in found[0]}
        responses[fault] = dict(sum((Counter(one.responses()) for one in same), Counter()))
    facts = {
        "rounds": rounds,
        "callers": CALLERS,
        "reporters": REPORTERS,
        "pause_s": PAUSE_S,
        "failures": responses,
        "commands": {outcome.fault: list(outcome.commands) for outcome in outcomes},
    }
    notes = [
        f"{CALLERS} callers of predictions without retries, {REPORTERS} reporters of outcomes "
        f"that repeat what was not acknowledged; {rounds} faults per row: sums of counts, longest "
        f"times, median p99. `unrecorded`: answered predictions that are not stored afterwards; "
        f"`lost`: acknowledged outcomes that are not stored afterwards; `refused`: attempts to "
        f"record an outcome that failed during the fault.",
    ]
    return Report(figures, facts, notes)


def _combined(key: str, values: Sequence[float]) -> float:
    if key.startswith("p99"):
        return float(np.median(values))
    return max(values) if key.endswith(("_ms", "_s")) else sum(values)
