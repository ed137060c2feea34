"""Keeps a router on the current tokens, wherever their file is. No Ray.

The router stays in service while the tokens cannot be read, with the last ones that it knows.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from serve_app.access.token_source import ReadTokens, Revision
from serve_app.access.tokens import TokenTable
from serve_app.errors import ServingError
from serve_app.timeouts import TOKENS_FOLLOW_PERIOD_S, TOKENS_LATE_S

logger = logging.getLogger(__name__)


class TokenFollower:
    """Reads the tokens once per period and passes changed ones on.

    Args:
        read: returns the tokens, None if they still have the given revision; raises ServingError
            if they cannot be read.
        sleep: waits for a number of seconds.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self,
        read: Callable[[Revision | None], Awaitable[ReadTokens | None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._sleep, self._clock = sleep, clock
        self._read_at_s = clock()
        self._revision: Revision | None = None
        self._problem = ""

    async def first(self) -> TokenTable:
        """Return the tokens at the start.

        Raises:
            ServingError: they cannot be read, so that nothing may be served.
        """
        read = await self._read(None)
        assert read is not None, "no revision is known yet"
        self._revision = read.revision
        self._read_at_s = self._clock()
        return read.table

    async def problem(self) -> str | None:
        """Return why the tokens cannot be read; None while they are read once per period."""
        age_s = self._clock() - self._read_at_s
        if age_s > TOKENS_LATE_S:
            return f"no response for {age_s:.1f} s"
        return self._problem or None

    async def follow_forever(self, adopt: Callable[[TokenTable], None]) -> None:
        """Pass each change of the tokens to `adopt`."""
        while True:
            await self._sleep(TOKENS_FOLLOW_PERIOD_S)
            try:
                read = await self._read(self._revision)
            except ServingError as error:
                self._read_at_s = self._clock()
                if str(error) != self._problem:  # once, not twice per second
                    self._problem = str(error)
                    logger.error("tokens not read, the last ones hold: %s", error)  # noqa: TRY400
                continue
            self._problem = ""
            self._read_at_s = self._clock()
            if read is not None:
                adopt(read.table)
                self._revision = read.revision
                logger.info("tokens changed: %d are known", len(read.table.tokens))
