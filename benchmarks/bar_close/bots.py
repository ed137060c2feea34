"""The bots, all in one process and one event loop, which imports no more than a bot does.

python -m benchmarks.bar_close.bots URL BARS

prints the calls as JSON. Plain HTTP sends a prepared body and waits up to 30 s; ModelClient encodes
the window, and has its defaults. The forms alternate bar by bar, quiet and beside busy loops.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass

import aiohttp
import numpy as np

from serve_app.client import ModelClient
from serve_app.client.encoding import Body, encode_raw
from serve_app.errors import ClientError

BOTS = 200
PAUSE_S = 2.0
"""Pause before a bar. HAProxy closes connections after 5 s: the next bar of a form opens others, as
bars of a minute do, and no more than 512 are open, the most that HAProxy keeps per address."""
PATIENCE_S = 30.0
"""Longest wait of a call of plain HTTP."""
CORES = 2
SHAPE = (60, 110)
SYMBOL = "EURUSD"

PLAIN = "plain HTTP, one session"
PLAIN_EACH = "plain HTTP, one session per bot"
SHARED = "one ModelClient"
EACH = "one ModelClient per bot"

Predict = Callable[[], Awaitable[str]]
"""Sends one request and returns `ok`, or the failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One prediction as its bot saw it."""

    form: str
    bar: int
    load: str
    """`quiet` or `busy`."""
    took_s: float
    result: str
    """`ok`, or the failure."""


async def measure(url: str, bars: int) -> list[Call]:
    """Return the calls of `bars` bars of each form and load on a running server."""
    calls: list[Call] = []
    async with bots(url) as forms:
        for predicts in forms.values():
            await _bar(predicts)  # not counted: it loads what the first requests need
        for bar in range(bars):
            for load, loops in (("quiet", 0), ("busy", CORES)):
                with busy_loops(loops):
                    # Another form comes first in each bar.
                    for form in [*forms][bar % len(forms) :] + [*forms][: bar % len(forms)]:
                        await asyncio.sleep(PAUSE_S)
                        calls += [
                            Call(form=form, bar=bar, load=load, took_s=took_s, result=result)
                            for took_s, result in await _bar(forms[form])
                        ]
    return calls


async def _bar(predicts: Sequence[Predict]) -> list[tuple[float, str]]:
    """Release all bots at once, and return for each the time in seconds and the result."""
    close = asyncio.Event()

    async def bot(predict: Predict) -> tuple[float, str]:
        await close.wait()
        began_s = time.monotonic()
        result = await predict()
        return time.monotonic() - began_s, result

    tasks = [asyncio.create_task(bot(predict)) for predict in predicts]
    await asyncio.sleep(0.05)
    close.set()
    return await asyncio.gather(*tasks)


@asynccontextmanager
async def bots(url: str) -> AsyncIterator[dict[str, list[Predict]]]:
    """Yield the calls of the bots in each form."""
    window = np.random.default_rng(0).standard_normal(SHAPE)
    body = encode_raw({"symbol": SYMBOL, "features": window})
    assert body is not None
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with AsyncExitStack() as stack:
        sessions = [
            await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            for _ in range(BOTS + 1)
        ]
        clients = [
            await stack.enter_async_context(ModelClient(url, raise_errors=True))
            for _ in range(BOTS + 1)
        ]
        yield {
            PLAIN: [_plain(url, sessions[0], body)] * BOTS,
            SHARED: [_client(clients[0], window)] * BOTS,
            PLAIN_EACH: [_plain(url, session, body) for session in sessions[1:]],
            EACH: [_client(client, window) for client in clients[1:]],
        }


def _plain(url: str, session: aiohttp.ClientSession, body: Body) -> Predict:
    target, headers = f"{url}/api/ml/predict?{body.query}", {"Content-Type": body.content_type}

    async def predict() -> str:
        try:
            async with session.post(target, data=body.content, headers=headers) as response:
                text = await response.text()
                return "ok" if response.status == 200 else f"{response.status} {text[:120]}"
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__

    return predict


def _client(client: ModelClient, window: np.ndarray) -> Predict:
    async def predict() -> str:
        try:
            await client.predict(SYMBOL, window)
        except ClientError as error:
            return f"{type(error).__name__}: {error}"
        return "ok"

    return predict


@contextmanager
def busy_loops(number: int) -> Iterator[None]:
    """Keep `number` processes computing while the context is open."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    _, server_url, number_of_bars = sys.argv
    measured = asyncio.run(measure(server_url, int(number_of_bars)))
    sys.stdout.write(json.dumps([asdict(call) for call in measured]))
