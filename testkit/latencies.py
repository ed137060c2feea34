"""Latencies of requests that one client sends one after the other."""

import time
from collections.abc import Awaitable, Callable, Sequence


async def latencies_s(send: Callable[[], Awaitable[object]], requests: int) -> Sequence[float]:
    """Return the time that each request took, in seconds."""
    latencies = []
    for _ in range(requests):
        began_s = time.perf_counter()
        await send()
        latencies.append(time.perf_counter() - began_s)
    return latencies
