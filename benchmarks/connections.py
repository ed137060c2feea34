"""Idle connections beside a bot that trades: what they cost it.

Rounds without and with idle connections alternate on one server. The idle ones are opened last,
send nothing, and come from several loopback addresses, since each may hold 512; HAProxy closes them
after 5 s, so that a round is shorter.
"""

import asyncio
import resource
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import urlsplit

import numpy as np
import typer

from benchmarks.report import Report
from benchmarks.serving import server, settings, window
from testkit.load import Load, load

IDLE = 4_300
PER_ADDRESS = 500
ROUND_S = 2.5
ROUNDS = 6


def run(rounds: int = ROUNDS) -> Report:
    """Return the latencies of the bot in the rounds without and with idle connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    alone: list[Load] = []
    beside: list[Load] = []
    opening_s: list[float] = []
    with server(["1.0.0"]) as running:
        asyncio.run(running.deploy(settings([{"version": "production"}])))
        url = running.cluster.url
        for _ in range(2):  # not counted: Serve reloads HAProxy in the first seconds
            asyncio.run(_trade(url))
        for _ in range(rounds):
            alone.append(asyncio.run(_trade(url)))
            began_s = time.monotonic()
            with _idle_connections(url) as held:
                opening_s.append(time.monotonic() - began_s)
                beside.append(asyncio.run(_trade(url)))
                left = sum(_is_open(connection) for connection in held)
            typer.echo(f"  {left} of {IDLE} connections idle, opened in {opening_s[-1]:.2f} s")
            if left < IDLE:
                raise RuntimeError(f"expected {IDLE} idle connections in the round, found {left}")
    figures = {"alone": _figures(alone), f"beside {IDLE:,} idle": _figures(beside)}
    without, with_idle = figures.values()
    ratio = {key: with_idle[key] / without[key] for key in ("p50_ms", "p99_ms", "longest_ms")}
    return Report(
        figures={**figures, "ratio": ratio},
        facts={"rounds": rounds, "round_s": ROUND_S, "opening_s": opening_s},
    )


async def _trade(url: str) -> Load:
    async with load(url, window(), concurrency=1) as bot:
        await asyncio.sleep(ROUND_S)
    return bot


@contextmanager
def _idle_connections(url: str) -> Iterator[Sequence[socket.socket]]:
    address = ("127.0.0.1", urlsplit(url).port or 80)
    with ExitStack() as stack:
        held = []
        for number in range(IDLE):
            source = f"127.0.0.{2 + number // PER_ADDRESS}"
            held.append(socket.create_connection(address, 5, source_address=(source, 0)))
            stack.enter_context(closing(held[-1]))
            held[-1].setblocking(False)
        yield held


def _is_open(connection: socket.socket) -> bool:
    """Return whether the server has neither closed a connection nor sent anything on it."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


def _figures(rounds: Sequence[Load]) -> dict[str, float]:
    latencies_ms = [took_ms for bot in rounds for took_ms in bot.took_ms]
    return {
        "requests": len(latencies_ms),
        "failed": sum(len(bot.failures) for bot in rounds),
        "p50_ms": float(np.percentile(latencies_ms, 50)),
        "p99_ms": float(np.percentile(latencies_ms, 99)),
        "longest_ms": max(latencies_ms),
    }
