"""The contestants: our server in three forms, and its peers, with one process and with two."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import server, settings
from benchmarks.serving_peers import peers
from benchmarks.serving_peers.peers import Peer, running_peer
from benchmarks.serving_peers.requests import Encode, as_json, as_list_of_one, as_raw
from benchmarks.serving_peers.running import Running

VERSION = "1.0.0"

FASTAPI = "FastAPI"
HAND_TUNED = "hand-tuned"
LITSERVE = "LitServe"
BENTOML = "BentoML"
DEFAULT = "default graph"
ROUTER = "placement: router"
RAW = "placement: router, raw body"
OURS = (DEFAULT, ROUTER, RAW)
CONTESTANTS = (*OURS, FASTAPI, HAND_TUNED, LITSERVE, BENTOML)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One way to run and load a contestant; its best entry counts."""

    contestant: str
    server: str
    """The name of the server; entries with the same name share one."""
    workers: int
    encode: Encode
    start: Callable[[Path], AbstractContextManager[Running]]
    """A function that starts the server with the model's ONNX file."""

    @property
    def name(self) -> str:
        """Return the name in the results."""
        raw = ", raw body" if self.encode is as_raw else ""
        return f"{self.server}{raw}"


def entries(workers: Sequence[int]) -> list[Entry]:
    """Return every way to run every contestant, with each of these numbers of processes."""
    return [
        entry
        for count in workers
        for entry in (
            _peer(FASTAPI, peers.FASTAPI, count),
            _peer(HAND_TUNED, peers.HAND_TUNED, count),
            _peer(LITSERVE, peers.LITSERVE, count),
            _peer(LITSERVE, peers.LITSERVE_BATCHED, count, "batching"),
            _peer(BENTOML, peers.BENTOML, count),
            _peer(BENTOML, peers.BENTOML_BATCHED, count, "batching", as_list_of_one),
            _ours(DEFAULT, "replicas", count, as_json),
            _ours(ROUTER, "router", count, as_json),
            _ours(RAW, "router", count, as_raw),
        )
    ]


def _peer(
    contestant: str, peer: Peer, workers: int, variant: str = "", encode: Encode = as_json
) -> Entry:
    return Entry(
        contestant=contestant,
        server=", ".join(filter(None, [contestant, variant, _processes(workers)])),
        workers=workers,
        encode=encode,
        start=lambda model: running_peer(peer, model, workers),
    )


def _ours(contestant: str, placement: str, workers: int, encode: Encode) -> Entry:
    return Entry(
        contestant=contestant,
        server=f"ours, placement: {placement}, {_processes(workers)}",
        workers=workers,
        encode=encode,
        start=lambda model: _running_ours(model, placement, workers),
    )


@contextmanager
def _running_ours(model: Path, placement: str, workers: int) -> Iterator[Running]:
    """Run our server as `serve_config.yaml` declares it, with `workers` routers and their
    replicas."""
    replicas = {"num_replicas": workers} if placement == "replicas" else {}
    args = settings(
        [{"version": "production", "placement": placement, **replicas}],
        router={"num_replicas": workers},
    )
    with server([VERSION], model, _beside_others()) as running:
        asyncio.run(running.deploy(args))
        yield Running(running.cluster.url, running.cluster.processes)


_clusters = itertools.count()


def _beside_others() -> dict[str, str]:
    """Return the variables of one cluster among several, all but one of which are suspended.

    Its routers listen apart from the others', and its controller takes no time at which all stood
    still for a failure of the proxy; neither is in a request's way.
    """
    first = 31000 + 100 * next(_clusters)
    return {
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "3600",
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + 99),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(first + 10_000),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(first + 10_099),
    }


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"
