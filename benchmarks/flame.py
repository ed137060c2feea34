"""A flame graph of the router's process under the load of 32 callers.

python -m benchmarks.flame [--seconds 20]

Writes benchmarks/results/router-flame.svg, by py-spy, which samples 200 times per second
without pausing the process.
"""

import asyncio
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer

from benchmarks.environments import environment
from benchmarks.report import RESULTS
from benchmarks.serving import Server, server, settings
from benchmarks.serving_peers.checking import wait_until_ready
from benchmarks.serving_peers.requests import as_json, windows
from benchmarks.serving_peers.wrk import run_wrk

VERSION = "1.0.0"
CALLERS = 32
PY_SPY = ("py-spy==0.4.3",)
GRAPH = RESULTS / "router-flame.svg"
LOOKS_PER_S = 200


def main(seconds: Annotated[int, typer.Option(help="Duration of the load.")] = 20) -> None:
    """Serve the default graph, load it, and sample its router meanwhile."""
    request = as_json(windows(1)[0])
    with server([VERSION]) as running:
        asyncio.run(running.deploy(settings([{"version": "production"}])))
        url = running.cluster.url
        wait_until_ready(url, request)
        run_wrk(url, request, CALLERS, 3)
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(run_wrk, url, request, CALLERS, seconds + 2)
            _record(running, seconds)
            load.result()
    typer.echo(f"wrote {GRAPH}")


def _record(running: Server, seconds: int) -> None:
    (router,) = running.processes()["router"]
    py_spy = environment("py-spy", PY_SPY).with_name("py-spy")
    command = [
        *(str(py_spy), "record", "--pid", str(router.pid), "--duration", str(seconds)),
        *("--rate", str(LOOKS_PER_S), "--nonblocking", "--function"),
        *("--format", "flamegraph", "--output", str(GRAPH)),
    ]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own arguments
    GRAPH.write_text(_without_places(GRAPH.read_text()))


def _without_places(graph: str) -> str:
    """Return the graph without the folders of this machine, and with a title of its own."""
    graph = re.sub(r"/[^\s()]*/site-packages/", "", graph)
    graph = re.sub(r"/[^\s()]*/lib/python[0-9.]+/", "", graph)
    return re.sub(r"\S*py-spy record [^<]*", f"The router while {CALLERS} callers ask", graph)


if __name__ == "__main__":
    typer.run(main)
