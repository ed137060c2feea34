"""The routers and replicas that many bots need, computed from the committed results.

python -m benchmarks.scaling [--write]

Prints the tables of docs/guides/scaling.md; `--write` puts them there.
"""

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.report import RESULTS
from testkit.paths import ROOT

DOCUMENT = ROOT / "docs" / "guides" / "scaling.md"
BEGIN, END = "<!-- python -m benchmarks.scaling --write -->", "<!-- end -->"

BOTS = 1000
REQUESTS_PER_BOT_S = 10.0
BUSY = 0.6
"""The planned utilisation of a process's core; above it, queues grow fast."""

NODE_CORES = 16
SIMULATED_S = 20.0
BURST_S = 0.010
"""The interval within which all bots send a request, where all wait for the same moment."""

SERVICE_CV = 0.5
"""Standard deviation of a request's time in a process as a share of its mean; an assumption."""

GRAPHS = (
    ("default graph, JSON", "versions", "placement: replicas", 1),
    ("`placement: router`, JSON", "versions", "placement: router", 1),
    ("`placement: router`, raw body", "experiments", "on other models", 0),
)
"""A graph's name, and the place of its costs in the results of the growth benchmark."""

SCALES_OUT = ("router", "model replicas", "proxy")
"""The roles that scale out; every other process exists once per cluster or per node."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The processor time per request of each role, in ms."""

    name: str
    cpu_ms: Mapping[str, float]


def carried_per_s(cpu_ms: float, busy: float = BUSY) -> float:
    """Return the requests per second of a process with this utilisation of its core."""
    return busy * 1e3 / cpu_ms


def needed(demand_per_s: float, cpu_ms: float, busy: float = BUSY) -> int:
    """Return the number of single-core processes that a demand needs."""
    return math.ceil(demand_per_s / carried_per_s(cpu_ms, busy))


def waits_ms(
    arrivals_s: NDArray[np.float64], servers: int, mean_ms: float, seed: int = 0
) -> NDArray[np.float64]:
    """Return each request's wait for one of several servers that process one request at a time.

    First come, first served; each goes to the server that is free first, which is what HAProxy's
    least-connections comes to. Times of service are gamma-distributed.

    Args:
        arrivals_s: sorted, shape (requests,).
        servers: how many there are.
        mean_ms: mean time of service.
        seed: of the times of service.

    Returns:
        Shape (requests,).
    """
    shape = 1 / SERVICE_CV**2
    services_s = np.random.default_rng(seed).gamma(shape, mean_ms / 1e3 / shape, len(arrivals_s))
    free_s = [0.0] * servers
    waits = np.empty(len(arrivals_s))
    for index, (arrival_s, service_s) in enumerate(zip(arrivals_s, services_s, strict=True)):
        begins_s = max(arrival_s, heappop(free_s))
        waits[index] = begins_s - arrival_s
        heappush(free_s, begins_s + service_s)
    return waits * 1e3


def poisson_s(rate_per_s: float, seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """Return the arrivals of independent bots."""
    count = int(rate_per_s * seconds)
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate_per_s, count))


def bursts_s(bots: int, every_s: float, seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """Return the arrivals of bots that all send a request within BURST_S, periodically."""
    starts = np.arange(0, seconds, every_s)
    offsets = np.random.default_rng(seed).uniform(0, BURST_S, (len(starts), bots))
    return np.sort((starts[:, np.newaxis] + offsets).ravel())


def read_graphs(growth: Mapping[str, Any]) -> list[Graph]:
    """Return the costs by role, medians over the rounds."""
    return [
        Graph(
            name,
            _medians(
                [
                    cost["cpu_ms"]
                    for cost in growth["costs"]
                    if (cost["dimension"], cost["variant"], cost["size"]) == tuple(where)
                ]
            ),
        )
        for name, *where in GRAPHS
    ]


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    roles = sorted({role for costs in rounds for role in costs})
    return {role: statistics.median(costs.get(role, 0.0) for costs in rounds) for role in roles}


def tables(growth: Mapping[str, Any], store: Mapping[str, Any]) -> str:
    """Return the computed part of the document.

    Args:
        growth: the results of the growth benchmark.
        store: those of the experiments' store.
    """
    graphs = read_graphs(growth)
    return "\n".join(
        [
            *_machine(growth),
            "",
            *_per_core(graphs),
            "",
            *_plan(graphs),
            "",
            *_waits(graphs),
            "",
            *_bottlenecks(graphs[0], growth, store),
        ]
    )


def _machine(growth: Mapping[str, Any]) -> Iterator[str]:
    machine = growth["machine"]
    yield f"Measured on: {'; '.join(map(_described, machine.items()))}."


def _described(fact: tuple[str, object]) -> str:
    name, value = fact
    if isinstance(value, Mapping):
        value = ", ".join(f"{package} {version}" for package, version in value.items())
    elif isinstance(value, list):
        value = ", ".join(value)
    return f"{name} {value}"


def _per_core(graphs: Sequence[Graph]) -> Iterator[str]:
    yield f"Requests per second of one process whose core is {BUSY:.0%} busy, and CPU per request:"
    yield ""
    yield "| Graph | Router | Model replica | HAProxy, per core | Experiment log |"
    yield "|---|---:|---:|---:|---:|"
    for graph in graphs:
        cells = [
            f"{carried_per_s(graph.cpu_ms[role]):,.0f} ({graph.cpu_ms[role]:.2f} ms)"
            if graph.cpu_ms.get(role)
            else "none"
            for role in (*SCALES_OUT, "experiment log")
        ]
        yield f"| {graph.name} | {' | '.join(cells)} |"


def _plan(graphs: Sequence[Graph]) -> Iterator[str]:
    demand = BOTS * REQUESTS_PER_BOT_S
    yield f"For {BOTS:,} bots at {REQUESTS_PER_BOT_S:g} requests per second, {demand:,.0f} in all:"
    yield ""
    yield f"| Graph | Routers | Model replicas | Cores of HAProxy | Nodes of {NODE_CORES} cores |"
    yield "|---|---:|---:|---:|---:|"
    for graph in graphs:
        routers, replicas, proxies = (_needed(graph, role, demand) for role in SCALES_OUT)
        cores = demand * sum(graph.cpu_ms.values()) / 1e3 / BUSY
        nodes = math.ceil(cores / NODE_CORES)
        yield f"| {graph.name} | {routers} | {replicas or 'none'} | {proxies} | {nodes} |"


def _needed(graph: Graph, role: str, demand_per_s: float) -> int:
    cpu_ms = graph.cpu_ms.get(role, 0.0)
    return needed(demand_per_s, cpu_ms) if cpu_ms else 0


def _waits(graphs: Sequence[Graph]) -> Iterator[str]:
    demand = BOTS * REQUESTS_PER_BOT_S
    yield (
        f"Simulated waits for a router, p50 and p99 in ms, {SIMULATED_S:g} s; "
        f"bots that send independently, and bots that all send within {BURST_S * 1e3:g} ms, "
        f"{REQUESTS_PER_BOT_S:g} times per second:"
    )
    yield ""
    yield "| Graph | Routers | Independent | All at once |"
    yield "|---|---:|---:|---:|"
    for graph in graphs:
        router_ms = graph.cpu_ms["router"]
        planned = needed(demand, router_ms)
        fewest = needed(demand, router_ms, busy=0.95)
        for routers in (fewest, planned, 2 * planned):
            cells = [
                "{:.2f}, {:.2f}".format(*np.percentile(waits_ms(row, routers, router_ms), (50, 99)))
                for row in (
                    poisson_s(demand, SIMULATED_S),
                    bursts_s(BOTS, 1 / REQUESTS_PER_BOT_S, SIMULATED_S),
                )
            ]
            yield f"| {graph.name} | {routers} | {' | '.join(cells)} |"


def _bottlenecks(
    graph: Graph, growth: Mapping[str, Any], store: Mapping[str, Any]
) -> Iterator[str]:
    rows_per_s = store["figures"]["predictions, groups of 1000"]["rows_per_s"]
    figures = growth["figures"]
    few, many = (figures[f"versions {size}, placement: replicas"] for size in (1, 16))
    idle_cores = (many["idle_cores"] - few["idle_cores"]) / 15
    log_ms = graph.cpu_ms["experiment log"]
    yield "Limits of the processes that exist once, default graph:"
    yield ""
    yield "| Process | Cost | Limit |"
    yield "|---|---|---:|"
    yield (
        f"| experiment log, the process | {log_ms:.3f} ms per request "
        f"| {carried_per_s(log_ms, 1.0):,.0f} requests/s |"
    )
    yield (
        f"| experiment log, SQLite | {1e3 / rows_per_s:.3f} ms per prediction in groups "
        f"| {rows_per_s:,.0f} predictions/s |"
    )
    yield (
        f"| controller, GCS and pings | {idle_cores * 1e3:.0f} ms of processor time per second "
        f"and replica, all processes together | not on the request path |"
    )
    yield "| registry actor, fleet | changes of what is served | not on the request path |"


def main(
    write: Annotated[
        bool, typer.Option("--write", help="Write into docs/guides/scaling.md.")
    ] = False,
) -> None:
    """Compute the tables from benchmarks/results/."""
    growth, store = (
        json.loads((RESULTS / f"{name}.json").read_text())
        for name in ("growth", "experiment_store")
    )
    computed = tables(growth, store)
    typer.echo(computed)
    if write:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{computed}\n{END}{after}")


if __name__ == "__main__":
    typer.run(main)
