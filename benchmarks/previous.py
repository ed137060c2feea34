"""The present build beside a previous one, in one interleaved run: latency, throughput and memory.

    python -m benchmarks.previous ../previous-checkout

The previous checkout needs an environment of its own (`make setup` in it). Both builds serve the
same network; the rounds alternate between them, the other server is suspended meanwhile, and each
figure is the median over the rounds of the present build's divided by the previous one's, so that a
busy moment of the machine meets both.
"""

import asyncio
import math
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
import yaml

from benchmarks.report import Report, keep, show
from benchmarks.serving import NAME, make_network
from benchmarks.serving_peers.requests import as_json, as_raw
from benchmarks.serving_peers.running import Running
from benchmarks.serving_peers.wrk import Request, run_wrk
from optimization.export.exporter import export_onnx
from registry import ModelMetadata, ModelRegistry
from registry.architectures import save_checkpoint
from serve_app.launch.readiness import is_healthy
from testkit.cluster import free_ports, haproxy_ports, with_children
from testkit.paths import ROOT

VERSION = "1.0.0"
SHAPE = (60, 110)
CONCURRENCIES = (1, 32)
STARTUP_TIMEOUT_S = 180.0
SETTLE_S = 10.0
"""Time for which a started server runs before its memory is measured."""
RESUMED_S = 4.0
"""Time for which a resumed server runs before it is loaded: its routers confirm their state."""
WARM_UP_S = 1
"""Duration of the load before a measurement."""
STOP_TIMEOUT_S = 60.0

GRAPHS: Mapping[str, tuple[str, str]] = {
    "default graph": ("replicas", "json"),
    "placement: router": ("router", "json"),
    "placement: router, raw body": ("router", "raw"),
}
"""The placement of the version and the form of the body, by graph."""


def run(previous: Path, rounds: int = 7, seconds: int = 6) -> Report:
    """Return the ratios of the present build to the one in `previous`, and their samples."""
    checkouts = {"present": ROOT, "previous": previous.resolve()}
    window = np.random.default_rng(0).standard_normal(SHAPE)
    bodies = {"json": as_json(window), "raw": as_raw(window)}
    figures: dict[str, dict[str, float]] = {}
    samples: dict[str, object] = {}
    for placement in ("replicas", "router"):
        with ExitStack() as stack:
            servers = {
                build: stack.enter_context(_server(build, checkout, placement))
                for build, checkout in checkouts.items()
            }
            time.sleep(SETTLE_S)
            memory_mb = {build: _memory_mb(server) for build, server in servers.items()}
            for server in servers.values():
                server.pause()
            for graph, (wanted, form) in GRAPHS.items():
                if wanted != placement:
                    continue
                taken = _rounds(servers, bodies[form], rounds, seconds)
                samples[graph] = taken
                figures[graph] = {
                    name: statistics.median(
                        present / before
                        for present, before in zip(
                            taken["present"][name], taken["previous"][name], strict=True
                        )
                    )
                    for name in taken["present"]
                } | {"memory": memory_mb["present"] / memory_mb["previous"]}
            for server in servers.values():
                server.resume()
    return Report(
        figures,
        {"rounds": rounds, "seconds": seconds, "samples": samples},
        [f"Medians of {rounds} interleaved rounds of {seconds} s; present divided by previous."],
    )


def _rounds(
    servers: Mapping[str, Running], request: Request, rounds: int, seconds: int
) -> dict[str, dict[str, list[float]]]:
    """Load both servers in turn; every other round in the opposite order."""
    taken: dict[str, dict[str, list[float]]] = {build: defaultdict(list) for build in servers}
    for number in range(rounds):
        order: Sequence[str] = sorted(servers, reverse=bool(number % 2))
        for build in order:
            server = servers[build]
            server.resume()
            time.sleep(RESUMED_S)
            run_wrk(server.url, request, max(CONCURRENCIES), WARM_UP_S)
            cpu_s, count = server.cpu_s(), 0.0
            for concurrency in CONCURRENCIES:
                load = run_wrk(server.url, request, concurrency, seconds)
                prefix = f"c{concurrency}"
                for percent in (50, 99):
                    taken[build][f"{prefix}_p{percent}"].append(load.percentiles_ms[percent])
                taken[build][f"{prefix}_requests_per_s"].append(load.requests_per_s)
                count += load.requests_per_s * seconds
            taken[build]["cpu_per_request"].append((server.cpu_s() - cpu_s) / count)
            server.pause()
        typer.echo(f"  round {number + 1} of {rounds}")
    return taken


def _memory_mb(server: Running) -> float:
    """Return the PSS of all processes of the server, in MB."""
    return sum(process.memory_full_info().pss / 1e6 for process in server.processes())


@contextmanager
def _server(build: str, checkout: Path, placement: str) -> Iterator[Running]:
    """Serve one version from a registry of its own until the context closes."""
    folder = Path(tempfile.mkdtemp(prefix="tp-"))
    (port,) = free_ports(1)
    config = {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [
            {
                "name": f"trading-{build}",
                "route_prefix": "/",
                "import_path": "serve_app.app:build",
                "args": {
                    "registry_root": str(folder / "models"),
                    "versions": [{"model": NAME, "placement": placement}],
                },
            }
        ],
    }
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    asyncio.run(_register(folder))
    environment = {**os.environ, **haproxy_ports(), "PYTHONPATH": str(checkout)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - a checkout that the user names
            [str(checkout / ".venv/bin/modelctl"), "serve", str(path)],
            cwd=checkout,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        root = psutil.Process(process.pid)
        server = Running(url, lambda: [p for p in with_children([root]) if p.is_running()])
        try:
            _wait_until_healthy(url, process, folder / "log")
            yield server
        finally:
            server.resume()
            process.send_signal(signal.SIGINT)
            process.wait(STOP_TIMEOUT_S)
            shutil.rmtree(folder)


async def _register(folder: Path) -> None:
    registry = ModelRegistry(folder / "models")
    network = make_network(0)
    checkpoint, onnx = folder / "model.pt", folder / "model.onnx"
    save_checkpoint(network, checkpoint)
    export_onnx(network, onnx, SHAPE)
    await registry.register_model(
        NAME, VERSION, checkpoint, "HybridCNNLSTM", artifacts={"model.onnx": onnx}
    )
    await registry.promote_to_production(NAME, VERSION)
    _leave_out_defaults((await registry.get_model(NAME, VERSION)).path / "metadata.json")


def _leave_out_defaults(file: Path) -> None:
    """Leave out the entries with a default, since a build rejects those that it does not know."""
    metadata = ModelMetadata.model_validate_json(file.read_bytes())
    file.chmod(0o600)
    file.write_text(metadata.model_dump_json(exclude_defaults=True))


def _wait_until_healthy(url: str, process: subprocess.Popen[str], log: Path) -> None:
    deadline_s = time.monotonic() + STARTUP_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended during its start:\n{log.read_text()}")
        if is_healthy(f"{url}/api/ml/health"):
            return
        time.sleep(0.5)
    raise RuntimeError(f"no healthy server within {STARTUP_TIMEOUT_S:g} s:\n{log.read_text()}")


def main(
    previous: Annotated[Path, typer.Argument(help="A checkout of the previous build.")],
    rounds: Annotated[int, typer.Option(help="Interleaved rounds.")] = 7,
    seconds: Annotated[int, typer.Option(help="Duration of each load.")] = 6,
) -> None:
    """Measure both builds, print the ratios and keep them."""
    report = run(previous, rounds, seconds)
    typer.echo(show(report))
    if all(math.isfinite(value) for row in report.figures.values() for value in row.values()):
        keep("previous", report)


if __name__ == "__main__":
    typer.run(main)
