#!/usr/bin/env bash
# aiohttp reports a connect timeout for a connection that the server has accepted long before.
#
# Versions   aiohttp 3.14.5, Python 3.11
# Behaviour  A program starts a request with ClientTimeout(sock_connect=0.1), and keeps its event loop
#            busy for 0.3 s. The operating system completes the connection within a millisecond, and
#            the server accepts it. When the loop continues, the timer of the timeout runs before the
#            task that would find the connection ready: the request fails with
#            ConnectionTimeoutError, as if the server could not be reached.
# Expected   A connection that was ready within the limit is used.
# Observed   accepted by the server: 1; ConnectionTimeoutError.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet aiohttp==3.14.5
"$work/venv/bin/python" - <<'PYTHON'
import asyncio
import socket
import sys
import threading
import time

import aiohttp

accepted = []


def accept(listener: socket.socket) -> None:
    while True:
        try:
            accepted.append(listener.accept()[0])
        except OSError:
            return


async def main(url: str) -> str:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=0.1)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        request = asyncio.create_task(session.get(url))
        while not accepted:  # the server has the connection, and our loop has not seen it yet
            await asyncio.sleep(0)
            time.sleep(0.3)
        try:
            async with asyncio.timeout(1):
                await request
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__
    return "no error"


with socket.create_server(("127.0.0.1", 0)) as listener:
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    result = asyncio.run(main(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
print(f"accepted by the server: {len(accepted)}; {result}")
sys.exit(not (accepted and result == "ConnectionTimeoutError"))
PYTHON
echo "as described"
