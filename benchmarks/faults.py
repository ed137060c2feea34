"""The effect of the death, and of a stop of 10 s, of each component on callers.

Eight callers send predictions without retries, and eight more use ModelClient with its defaults.
The settings are those of `serve_config.yaml`. A fault hits one process; before the next one every
component must be back. The usual p99 is that of the two seconds before each fault.
"""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import typer
import yaml

from benchmarks.report import Report
from benchmarks.serving import APPLICATION, NAME, Server, server, until, window
from registry import ModelStage
from serve_app.client import ModelClient
from serve_app.errors import ClientError
from testkit.cluster import title_of
from testkit.paths import ROOT

CALLERS = 8
PAUSE_S = 0.05
BEFORE_S = 2.0
AFTER_KILL_S = 8.0
STOPPED_S = 10.0
AFTER_STOP_S = 3.0
SETTLE_S = 3.0
"""Time in which Serve starts HAProxy once more with the routers that it knows by then."""
ROUNDS = 5
PRODUCTION, STAGING = "1.0.0", "1.1.0"
LIMIT_S = 30.0
"""Longest wait of a call without retries."""

COMPONENTS: Mapping[str, str] = {
    "router": f"ray::ServeReplica:{APPLICATION}:Router",
    "model replica": f"ray::ServeReplica:{APPLICATION}:{NAME}:{PRODUCTION}:ModelServer",
    "fleet": f"ray::ServeReplica:{APPLICATION}:Fleet",
    "controller": "ray::ServeController",
    "registry": "ray::RegistryActor",
    "experiment log": "ray::ExperimentLogActor",
    "HAProxy": "haproxy",
    "HAProxy's manager": "ray::HAProxyManager",
    "fallback proxy": "ray::ProxyActor",
}
"""The start of the title of a component's processes, for HAProxy the name of its program."""


@dataclass(frozen=True)
class Call:
    """One prediction as its caller saw it."""

    began_s: float
    took_s: float
    result: str
    """`ok`, or the failure."""
    is_json: bool = True
    """Whether the response, if there was one, was JSON with an error or a prediction."""


@dataclass
class Traffic:
    """The calls of both kinds of callers so far."""

    plain: list[Call] = field(default_factory=list)
    client: list[Call] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """The calls during one fault."""

    component: str
    fault: str
    at_s: float
    """The time of the signal."""
    gone_s: float
    """The time from which the process took no more requests: a kill takes some milliseconds, and a
    stopped HAProxy is killed."""
    traffic: Traffic

    def figures(self) -> dict[str, float]:
        """Return the figures of this fault; times in ms."""
        plain, client = self._after(self.traffic.plain), self._after(self.traffic.client)
        failed = [call for call in plain if call.result != "ok"]
        before = [call.took_s for call in self.traffic.plain if call.began_s < self.at_s - 0.5]
        return {
            "calls": len(plain) + len(client),
            "plain_failed": len(failed),
            "in_flight": sum(call.began_s <= self.gone_s for call in failed),
            "client_failed": sum(call.result != "ok" for call in client),
            "not_json": sum(not call.is_json for call in plain),
            "plain_longest_ms": max(call.took_s for call in plain) * 1e3,
            "client_longest_ms": max(call.took_s for call in client) * 1e3,
            "p99_before_ms": float(np.percentile(before, 99)) * 1e3,
        }

    def results(self) -> dict[str, int]:
        """Return how often each failure was seen."""
        calls = [*self._after(self.traffic.plain), *self._after(self.traffic.client)]
        return dict(Counter(call.result for call in calls if call.result != "ok"))

    def _after(self, calls: Sequence[Call]) -> list[Call]:
        return [call for call in calls if call.began_s + call.took_s >= self.at_s]


def run(rounds: int = ROUNDS, components: Sequence[str] = tuple(COMPONENTS)) -> Report:
    """Return the worst figures of each component and fault over the rounds."""
    outcomes: list[Outcome] = []
    with server([PRODUCTION, STAGING]) as running:
        asyncio.run(_deploy(running))
        memory_mb = _memory_mb(running)
        for _ in range(rounds):
            for component in components:
                for fault in ("SIGKILL", "SIGSTOP"):
                    outcome = asyncio.run(_one(running, component, fault))
                    if outcome is not None:
                        outcomes.append(outcome)
                        typer.echo(_line(outcome))
    figures = {}
    results: dict[str, dict[str, int]] = {}
    for what in dict.fromkeys((outcome.component, outcome.fault) for outcome in outcomes):
        same = [outcome for outcome in outcomes if (outcome.component, outcome.fault) == what]
        found = [outcome.figures() for outcome in same]
        figures[f"{what[0]}, {what[1]}"] = {
            key: _combined(key, [fault[key] for fault in found]) for key in found[0]
        }
        results[", ".join(what)] = dict(
            sum((Counter(outcome.results()) for outcome in same), Counter())
        )
    facts = {
        "rounds": rounds,
        "callers": CALLERS,
        "pause_s": PAUSE_S,
        "memory_mb": memory_mb,
        "failures": results,
    }
    notes = [
        f"{CALLERS} callers without retries and {CALLERS} with ModelClient, each with a pause of "
        f"{PAUSE_S * 1e3:.0f} ms between calls; {rounds} faults per row, sums of calls and "
        f"failures, the longest times, the median p99. `in_flight` counts the plain failures of "
        f"requests that were sent before the process was gone.",
        "",
        "Failures:",
        "",
        *(
            f"- {what}: {', '.join(f'{number} times {name}' for name, number in seen.items())}"
            for what, seen in results.items()
            if seen
        ),
    ]
    return Report(figures, facts, notes)


def _combined(key: str, values: Sequence[float]) -> float:
    if key == "p99_before_ms":
        return float(np.median(values))
    return max(values) if key.endswith("_ms") else sum(values)


async def _deploy(running: Server) -> None:
    await running.registry.set_model_stage(NAME, STAGING, ModelStage.STAGING)
    await running.deploy(default_settings())


def default_settings() -> dict[str, Any]:
    """Return the `args` of `serve_config.yaml`, for the registry of the benchmark."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    args: dict[str, Any] = config["applications"][0]["args"]
    return args


async def _one(running: Server, component: str, fault: str) -> Outcome | None:
    """Return what the callers saw of one fault; None where the component has no process."""
    # HAProxy has further processes while those before it complete their requests.
    number = min(2, len(_processes(running, component)))
    if number == 0:
        return None
    async with Callers(running.cluster.url) as traffic:
        await asyncio.sleep(BEFORE_S)
        victim = (await asyncio.to_thread(_processes, running, component))[0]
        at_s = gone_s = time.monotonic()
        victim.send_signal(signal.SIGKILL if fault == "SIGKILL" else signal.SIGSTOP)
        while time.monotonic() - at_s < STOPPED_S:
            if not await asyncio.to_thread(_runs, victim):
                gone_s = time.monotonic()  # where stopped, the server itself has killed it
                break
            await asyncio.sleep(0.002 if fault == "SIGKILL" else 0.02)
        if fault == "SIGKILL":
            await asyncio.sleep(AFTER_KILL_S)
        else:
            await asyncio.sleep(max(0.0, at_s + STOPPED_S - time.monotonic()))
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGCONT)
            await asyncio.sleep(AFTER_STOP_S)
    await until(
        lambda: running.is_settled() and len(_processes(running, component)) >= number,
        f"{component} is back",
    )
    await asyncio.sleep(SETTLE_S)
    return Outcome(component, fault, at_s, gone_s, traffic)


def _processes(running: Server, component: str) -> list[psutil.Process]:
    """Return the processes of a component, the one that serves first."""
    title = COMPONENTS[component]
    found = []
    for process in running.cluster.processes():
        with suppress(psutil.NoSuchProcess):
            name = process.name() if title == "haproxy" else title_of(process)
            if name.startswith(title):
                found.append((_is_spare(process), process.create_time(), process.pid, process))
    return [process for *_, process in sorted(found)]


def _is_spare(process: psutil.Process) -> bool:
    return any(word.endswith("/spare.cfg") for word in process.cmdline())


def _runs(process: psutil.Process) -> bool:
    """Return whether a process still has a thread; the last one to end closes its connections."""
    try:
        threads = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    return threads > 1 or not is_zombie


class Callers:
    """Keeps the callers of both kinds running while the context is open."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._done = asyncio.Event()
        self.traffic = Traffic()

    async def __aenter__(self) -> Traffic:
        timeout = aiohttp.ClientTimeout(total=LIMIT_S)
        self._session = aiohttp.ClientSession(timeout=timeout)
        self._client = ModelClient(self._url, raise_errors=True)
        self._callers = [
            asyncio.create_task(self._repeat(caller))
            for caller in (self._call_plain, self._call_client)
            for _ in range(CALLERS)
        ]
        return self.traffic

    async def __aexit__(self, *_: object) -> None:
        self._done.set()
        await asyncio.gather(*self._callers)
        await self._session.close()
        await self._client.cleanup()

    async def _repeat(self, call: Callable[[], Any]) -> None:
        while not self._done.is_set():
            await call()
            await asyncio.sleep(PAUSE_S)

    async def _call_plain(self) -> None:
        began_s = time.monotonic()
        is_json = True
        try:
            async with self._session.post(
                f"{self._url}/api/ml/predict",
                data=_BODY,
                headers={"Content-Type": "application/json"},
            ) as response:
                text = await response.text()
                is_json = _is_ours(response.status, text)
                result = "ok" if response.status == 200 else f"{response.status} {text[:120]}"
                if response.status in (502, 503, 504) and "Retry-After" not in response.headers:
                    is_json = False
        except (aiohttp.ClientError, TimeoutError) as error:
            result = type(error).__name__
        self.traffic.plain.append(Call(began_s, time.monotonic() - began_s, result, is_json))

    async def _call_client(self) -> None:
        began_s = time.monotonic()
        try:
            await self._client.predict("EURUSD", _FEATURES)
            result = "ok"
        except ClientError as error:
            result = f"client: {type(error).__name__}"
        self.traffic.client.append(Call(began_s, time.monotonic() - began_s, result))


def _is_ours(status: int, text: str) -> bool:
    """Return whether a response is a prediction, or an error in the server's form."""
    try:
        document = json.loads(text)
    except ValueError:
        return False
    return status == 200 or (status != 404 and isinstance(document.get("error"), dict))


def _memory_mb(running: Server) -> dict[str, float]:
    """Return the memory (PSS) of the processes of each component, in MB."""
    found: dict[str, float] = {}
    for component in COMPONENTS:
        for process in _processes(running, component):
            with suppress(psutil.Error):
                pss_mb = process.memory_full_info().pss / 1e6
                found[component] = found.get(component, 0.0) + pss_mb
    return found


def _line(outcome: Outcome) -> str:
    figures = "  ".join(f"{key} {value:.0f}" for key, value in outcome.figures().items())
    return f"  {outcome.component:18} {outcome.fault}  {figures}  {outcome.results() or ''}"


_FEATURES = window()
_BODY = json.dumps({"symbol": "EURUSD", "features": _FEATURES}).encode()
