"""The dimensions of growth. Each function brings its own server to one size after another."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from benchmarks.growth.cost import Cost, State, measure
from benchmarks.serving import NAME, Server, server, settings
from benchmarks.serving_peers.requests import as_json, as_raw, windows
from benchmarks.serving_peers.wrk import Request
from serve_app.client import ModelClient
from testkit.models import linear_onnx_file

VERSION = "1.0.0"
VERSIONS = (1, 4, 16)
ROUTERS = (1, 2)
EXPERIMENTS = (0, 8)
FEATURES: Mapping[int, tuple[int, int]] = MappingProxyType(
    {660: (6, 110), 6600: (60, 110), 66_000: (600, 110)}
)
"""The shapes of a window by its number of values."""

Dimension = Callable[[Path, int, int], Iterator[Cost]]
"""A function that yields costs, given the ONNX file, the rounds and the seconds of each load."""


def versions_in_router(model: Path, rounds: int, seconds: int) -> Iterator[Cost]:
    """More versions, all inside the router."""
    return _versions("router", model, rounds, seconds)


def versions_in_replicas(model: Path, rounds: int, seconds: int) -> Iterator[Cost]:
    """More versions, each with a replica of its own."""
    return _versions("replicas", model, rounds, seconds)


def _versions(placement: str, model: Path, rounds: int, seconds: int) -> Iterator[Cost]:
    names = [f"1.{minor}.0" for minor in range(max(VERSIONS))]
    with server(names, model) as running:
        for number, size in _interleaved(VERSIONS, rounds):
            declared = [{"version": name, "placement": placement} for name in names[:size]]
            _deploy(running, declared)
            yield measure(running, _placed("versions", placement, size), number, seconds)


def routers(model: Path, rounds: int, seconds: int) -> Iterator[Cost]:
    """More routers, the model inside them and in one replica."""
    with server([VERSION], model) as running:
        for placement in ("router", "replicas"):
            for number, size in _interleaved(ROUTERS, rounds):
                declared = [{"version": VERSION, "placement": placement}]
                _deploy(running, declared, size)
                yield measure(running, _placed("routers", placement, size), number, seconds)


def experiments(model: Path, rounds: int, seconds: int) -> Iterator[Cost]:
    """More experiments, each on another model than the requested one, and one on that as well."""
    others = [f"other_{index}" for index in range(max(EXPERIMENTS))]
    pair = (VERSION, "1.1.0")
    with server(pair, model) as running:
        for other in others:
            for version in pair:
                running.register(version, 0, model, other)
        declared = [
            {"model": model, "version": version, "placement": "router"}
            for model in (NAME, *others)
            for version in pair
        ]
        _deploy(running, declared)
        for number, size in _interleaved(EXPERIMENTS, rounds):
            state = State(
                dimension="experiments",
                variant="on other models",
                size=size,
                request=_of(as_raw(windows(1)[0])),
            )
            with _going(running, [f"{other}-{number}" for other in others[:size]]):
                yield measure(running, state, number, seconds)
        for number, size in _interleaved((0, 1), rounds):
            state = State(
                dimension="experiments",
                variant="on the same model",
                size=size,
                request=_of(as_raw(windows(1)[0])),
            )
            with _going(running, [f"{NAME}-{number}"] * size):
                yield measure(running, state, number, seconds)


def features(model: Path, rounds: int, seconds: int) -> Iterator[Cost]:
    """Larger windows, for models of negligible cost, inside the router."""
    with server([VERSION], model) as running:
        names = {size: f"takes_{size}" for size in FEATURES}
        asyncio.run(_register_linear(running, names))
        declared = [
            {"model": name, "version": VERSION, "placement": "router"} for name in names.values()
        ]
        _deploy(running, declared)
        for variant, encode in (("JSON", as_json), ("raw body", as_raw)):
            for number, size in _interleaved(tuple(FEATURES), rounds):
                window = np.random.default_rng(0).standard_normal(FEATURES[size])
                state = State(
                    dimension="features",
                    variant=variant,
                    size=size,
                    request=_of(encode(window), names[size]),
                )
                yield measure(running, state, number, seconds)


async def _register_linear(running: Server, names: Mapping[int, str]) -> None:
    for size, name in names.items():
        shape = FEATURES[size]
        file = linear_onnx_file(running.cluster.folder, shape=shape)
        await running.registry.register_model(
            name, VERSION, file, "Linear", framework="onnx", input_shape=shape
        )
        await running.registry.promote_to_production(name, VERSION)


DIMENSIONS: Sequence[Dimension] = (
    versions_in_router,
    versions_in_replicas,
    routers,
    experiments,
    features,
)


def _interleaved(sizes: Sequence[int], rounds: int) -> Iterator[tuple[int, int]]:
    """Yield rounds and sizes; every other round runs backwards."""
    for number in range(1, rounds + 1):
        for size in sizes if number % 2 else reversed(sizes):
            yield number, size


def _placed(dimension: str, placement: str, size: int) -> State:
    """Return a state of the usual model under JSON requests."""
    return State(
        dimension=dimension,
        variant=f"placement: {placement}",
        size=size,
        request=_of(as_json(windows(1)[0])),
    )


def _of(request: Request, model: str = NAME) -> Request:
    """Return the request, addressed to a model."""
    if request.content_type == "application/json":
        body = request.body.removesuffix(b"}") + f', "model_name": "{model}"}}'.encode()
        return replace(request, body=body)
    return replace(request, path=f"{request.path}&model_name={model}")


def _deploy(
    running: Server, declared: Sequence[Mapping[str, object]], num_routers: int = 1
) -> None:
    """Deploy unless this configuration is in effect already, as it is where a round turns."""
    args = settings(
        declared,
        router={"num_replicas": num_routers},
        default_model=declared[0].get("model", NAME),
    )
    if not running.is_settled(args):
        asyncio.run(running.deploy(args))


@contextmanager
def _going(running: Server, names: Sequence[str]) -> Iterator[None]:
    """Run experiments, each on the model that its name begins with, until the context closes."""

    async def create() -> None:
        async with ModelClient(running.cluster.url, raise_errors=True, timeout_s=30) as client:
            for name in names:
                model = name.rpartition("-")[0]
                await client.create_ab_test(name, model, VERSION, model, "1.1.0", 0.5)

    async def stop() -> None:
        async with ModelClient(running.cluster.url, raise_errors=True, timeout_s=30) as client:
            for name in names:
                await client.stop_ab_test(name)

    asyncio.run(create())
    try:
        yield
    finally:
        asyncio.run(stop())
