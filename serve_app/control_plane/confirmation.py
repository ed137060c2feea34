"""Waits until every router follows the serving state, so that a change can be acknowledged."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from serve_app.control_plane.observation import behind
from serve_app.control_plane.ports import Routers
from serve_app.errors import FleetUnavailableError, UnconfirmedStateError
from serve_app.state.serving import ServingState
from serve_app.timeouts import ROUTERS_FOLLOW_S, STOPPING_ROUTERS_S

CONFIRM_PERIOD_S = 0.1
"""Pause between two broadcasts while a router is behind."""


class RouterConfirmation:
    """Broadcasts a state until every router that may receive requests reports its revision.

    Serve's list of routers is read after the state was written. A router that Serve lists later
    reads the state before it serves (`serve_app.data_plane.state_follower`), so that no router
    can miss the change unnoticed.
    """

    def __init__(
        self,
        routers: Routers,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._routers = routers
        self._clock, self._sleep = clock, sleep

    async def wait(self, state: ServingState) -> None:
        """Return once every router follows `state`, which has been written, or a newer one.

        Raises:
            UnconfirmedStateError: a router is still behind after ROUTERS_FOLLOW_S, or Serve does
                not list the routers.
        """
        began_s = self._clock()
        while problem := await self._problem(state.revision, self._clock() - began_s):
            if self._clock() - began_s >= ROUTERS_FOLLOW_S:
                raise UnconfirmedStateError(f"{problem} after {ROUTERS_FOLLOW_S:.0f} s")
            await self._sleep(CONFIRM_PERIOD_S)
            await self._routers.adopt(state)

    async def _problem(self, revision: int, waited_s: float) -> str | None:
        """Return why some router may not follow `revision`; None if every router follows it."""
        try:
            replicas = await self._routers.replicas()
        except FleetUnavailableError as error:
            return error.problem
        expected = replicas.serving
        if waited_s < STOPPING_ROUTERS_S:
            expected |= replicas.stopping
        late = behind(expected, await self._routers.reports() if expected else (), revision)
        if not late:
            return None
        names = ", ".join(sorted(late))
        return f"{len(late)} of {len(expected)} routers ({names}) do not follow revision {revision}"
