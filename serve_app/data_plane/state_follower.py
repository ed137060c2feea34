"""Keeps a router on the serving state that the fleet has written. No Ray.

The fleet broadcasts every change, and the router also reads the state once per period, to recover
from a missed broadcast. A broadcast cannot reach a router that is still starting: Serve lists it
only afterwards. Since Serve sends requests only to routers that it lists, the first request makes
the router read the state again before it is served. From then on the fleet finds the router in
Serve's list and waits for it to follow.

A router stays in service while the state cannot be read: whatever prevents reading it also prevents
writing it, and the fleet acknowledges no change that a listed router does not follow.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context

from serve_app.errors import UnconfirmedStateError
from serve_app.state.serving import ServingState
from serve_app.timeouts import STATE_CONFIRM_S, STATE_FOLLOW_PERIOD_S

logger = logging.getLogger(__name__)


class StateFollower:
    """Applies each newer state, and tracks whether the router may serve.

    Args:
        read: returns the written state, None if it still has the given revision; raises
            UnconfirmedStateError if it cannot be read.
        apply: makes requests follow a state; must not block.
        sleep: waits for a number of seconds.
        confirm_timeout_s: longest wait of one `confirm`.
    """

    def __init__(
        self,
        read: Callable[[int], Awaitable[ServingState | None]],
        apply: Callable[[ServingState], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        confirm_timeout_s: float = STATE_CONFIRM_S,
    ) -> None:
        self._read = read
        self._apply = apply
        self._sleep = sleep
        self._confirm_timeout_s = confirm_timeout_s
        self._confirming: asyncio.Task[None] | None = None
        self.revision = 0
        """The revision of the state that is applied; 0 before the first one."""
        self.confirmed = False
        """Whether the router may serve: it missed no newer state while it started, and none failed
        to apply."""

    def adopt(self, state: ServingState) -> None:
        """Apply `state` from the next request on, unless a newer one is applied already."""
        if state.revision <= self.revision:
            return
        try:
            self._apply(state)
        except Exception:
            # A newer state exists that the router does not follow: it must not serve.
            self.confirmed = False
            raise
        self.revision = state.revision

    async def catch_up(self) -> None:
        """Read and apply the current state; keep the last one if the read fails."""
        try:
            await self._follow_written()
        except UnconfirmedStateError as error:
            logger.warning("serving state not read: %s", error.problem)

    async def follow_forever(self) -> None:
        """Catch up once per period."""
        while True:
            await self._sleep(STATE_FOLLOW_PERIOD_S)
            await self.catch_up()

    async def confirm(self) -> None:
        """Return once the router may serve; concurrent requests share one read.

        Raises:
            UnconfirmedStateError: the state could not be read in time, or could not be applied.
        """
        if self.confirmed:
            return
        if self._confirming is None or self._confirming.done():
            # In its own context: Serve cancels the tasks of a request whose client has left.
            self._confirming = asyncio.get_running_loop().create_task(
                self._confirm(), context=Context()
            )
        try:
            async with asyncio.timeout(self._confirm_timeout_s):
                await asyncio.shield(self._confirming)
        except TimeoutError:
            problem = f"the router could not read it within {self._confirm_timeout_s:g} s"
            raise UnconfirmedStateError(problem) from None

    async def _confirm(self) -> None:
        try:
            await self._follow_written()
        except UnconfirmedStateError:
            raise
        except Exception as error:
            logger.exception("serving state not applied")
            raise UnconfirmedStateError(
                f"the router could not apply it: {error!r}"[:200]
            ) from error
        if self.revision == 0:
            raise UnconfirmedStateError("the fleet has written none yet")
        self.confirmed = True

    async def _follow_written(self) -> None:
        state = await self._read(self.revision)
        if state is not None:
            self.adopt(state)
