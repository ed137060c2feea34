"""The whole comparison: start, check, measure in rounds, evaluate."""

import asyncio
import math
import signal
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import typer

from benchmarks.report import Report
from benchmarks.serving import SHAPE, make_network
from benchmarks.serving_peers import goals
from benchmarks.serving_peers.client import ClientCost, client_json, measure_client
from benchmarks.serving_peers.cold_start import measure_cold_start
from benchmarks.serving_peers.contestants import (
    CONTESTANTS,
    DEFAULT,
    RAW,
    ROUTER,
    Entry,
    entries,
)
from benchmarks.serving_peers.in_process import Bare, run_bare
from benchmarks.serving_peers.measuring import Field, Sample, loaded, running_field
from benchmarks.serving_peers.plots import plot
from benchmarks.serving_peers.requests import as_batch, as_raw, windows
from benchmarks.serving_peers.running import Running
from benchmarks.serving_peers.verdicts import (
    MANY_CALLERS,
    ONE_CALLER,
    as_markdown,
    best,
    percentile_ms,
    requests_per_s,
)
from optimization.export.exporter import export_onnx

BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The extent of a comparison."""

    workers: Sequence[int] = (1, 2)
    """The numbers of processes that are tried."""
    rounds: int = 5
    seconds: int = 2
    """The duration of each load."""
    others: Sequence[int] = (2, 4, 8, 16, 64)
    """Further concurrencies for the plot, measured once each."""
    settle_s: float = 1.0
    """The time for which a resumed server runs before it is measured."""
    cold_starts: int = 3
    only: Sequence[str] = ()
    """Parts of the names of the measured contestants; all if empty."""


FULL = Plan()
QUICK = Plan(workers=(1,), rounds=1, seconds=1, others=(), settle_s=0.5, cold_starts=1)


@dataclass(slots=True)
class Findings:
    """The measurements of one comparison."""

    samples: list[Sample] = field(default_factory=list)
    bare: dict[int, Bare] = field(default_factory=dict)
    """The latency of the model in this process, by round."""
    client: dict[int, ClientCost] = field(default_factory=dict)
    """The client's overhead, by round."""
    batch: dict[str, dict[int, float]] = field(default_factory=dict)
    """Windows per second in batch bodies divided by those in single requests, by contestant."""
    cold_start_s: list[float] = field(default_factory=list)
    without_answers: list[tuple[int, str, int]] = field(default_factory=list)
    """Loads without a response: round, entry, concurrency."""


def run(plan: Plan) -> Report:
    """Measure everything of a plan; see the package's docstring."""
    # SIGTERM ends the servers too, like Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    findings = Findings()
    chosen = [
        entry
        for entry in entries(plan.workers)
        if not plan.only or any(part.lower() in entry.contestant.lower() for part in plan.only)
    ]
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export_onnx(make_network(seed=0), model, SHAPE)
        for _ in range(plan.cold_starts):
            findings.cold_start_s.append(measure_cold_start(model))
            typer.echo(f"  cold start {findings.cold_start_s[-1]:.1f} s")
        with running_field(chosen, model, plan.settle_s) as servers:
            _measure(plan, servers, model, findings)
    return _report(plan, findings)


def _measure(plan: Plan, servers: Field, model: Path, findings: Findings) -> None:
    for number in range(1, plan.rounds + 1):
        findings.bare[number] = run_bare(model)
        for sample in servers.round(
            number, servers.entries, (ONE_CALLER, MANY_CALLERS), plan.seconds
        ):
            _tell(sample)
            findings.samples.append(sample)
    ways = [
        _way(findings.samples, servers, contestant, concurrency)
        for contestant in CONTESTANTS
        for concurrency in (ONE_CALLER, MANY_CALLERS)
    ]
    swept = list({entry.name: entry for entry in ways if entry is not None}.values())
    for sample in servers.round(1, swept, plan.others, plan.seconds):
        _tell(sample)
        findings.samples.append(sample)
    is_raw = any(entry.contestant == RAW for entry in servers.entries)
    by_hand = as_raw(windows(1)[0]) if is_raw else client_json()
    findings.without_answers = servers.without_answers
    for number in range(1, plan.rounds + 1):
        for contestant in (DEFAULT, ROUTER):
            entry = _way(findings.samples, servers, contestant, ONE_CALLER)
            if entry is None:
                continue
            with servers.going(entry) as running:
                ratio = _batch_ratio(running, entry, plan.seconds)
                findings.batch.setdefault(contestant, {})[number] = ratio
                if contestant == ROUTER:
                    cost = asyncio.run(measure_client(running.url, by_hand))
                    findings.client[number] = cost


def _batch_ratio(running: Running, entry: Entry, seconds: int) -> float:
    """Return one caller's windows per second in bodies of 32, divided by those in single
    requests."""
    window = windows(1)[0]
    single, _ = loaded(running, entry.encode(window), ONE_CALLER, seconds)
    batch, _ = loaded(running, as_batch(window, BATCH), ONE_CALLER, seconds)
    return BATCH * batch.requests_per_s / single.requests_per_s


def _way(
    samples: Sequence[Sample], servers: Field, contestant: str, concurrency: int
) -> Entry | None:
    found = best(samples, contestant, concurrency)
    if found is None:
        return None
    return next(entry for entry in servers.entries if entry.name == found.entry)


def _tell(sample: Sample) -> None:
    typer.echo(
        f"  round {sample.round}  {sample.entry.name:46} c={sample.concurrency:<3}"
        f" p50 {sample.load.percentiles_ms[50]:8.2f} ms  p95 {sample.load.percentiles_ms[95]:8.2f}"
        f"  {sample.load.requests_per_s:6.0f} requests/s  CPU {sample.cpu_ms:6.2f} ms/request"
    )


def _report(plan: Plan, findings: Findings) -> Report:
    verdicts = goals.evaluate(
        findings.samples, findings.bare, findings.client, findings.batch, findings.cold_start_s
    )
    ways = [
        f"- {contestant}: {one.entry} for one caller, {many.entry} for {MANY_CALLERS}"
        for contestant in CONTESTANTS
        if (one := best(findings.samples, contestant, ONE_CALLER))
        and (many := best(findings.samples, contestant, MANY_CALLERS))
    ]
    return Report(
        figures=_figures(findings),
        facts={
            "plan": asdict(plan),
            "verdicts": [
                {
                    "what": verdict.what,
                    "value": None if math.isnan(verdict.value) else verdict.value,
                    "bound": verdict.bound.value,
                    "limit": verdict.limit,
                    "unit": verdict.unit.strip(),
                    "reached": verdict.reached,
                }
                for verdict in verdicts
            ],
            "bare": {number: asdict(each) for number, each in findings.bare.items()},
            "client": {number: asdict(each) for number, each in findings.client.items()},
            "batch": findings.batch,
            "cold_start_s": findings.cold_start_s,
            "without_answers": findings.without_answers,
            "samples": [sample.as_json() for sample in findings.samples],
        },
        notes=[*as_markdown(verdicts), "", "The best entries, which count:", "", *ways],
        plot=plot(findings.samples, CONTESTANTS),
    )


def _figures(findings: Findings) -> dict[str, dict[str, float]]:
    figures = {
        "model in process": {
            "c1_p50_ms": statistics.median(timing.p50_ms for timing in findings.bare.values()),
            "c1_p95_ms": statistics.median(timing.p95_ms for timing in findings.bare.values()),
        }
    }
    for contestant in CONTESTANTS:
        one = best(findings.samples, contestant, ONE_CALLER)
        many = best(findings.samples, contestant, MANY_CALLERS)
        if one is None or many is None:
            continue
        figures[contestant] = {
            "c1_p50_ms": one.median(percentile_ms(50)),
            "c1_p95_ms": one.median(percentile_ms(95)),
            "c1_p99_ms": one.median(percentile_ms(99)),
            "c32_requests_per_s": many.median(requests_per_s),
            "c32_p50_ms": many.median(percentile_ms(50)),
            "c32_p99_ms": many.median(percentile_ms(99)),
            "c32_cpu_ms_per_request": many.median(lambda sample: sample.cpu_ms),
        }
    return figures
