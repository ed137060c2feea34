"""The one place where the serving state changes: it is stored first, then broadcast."""

import asyncio
from collections.abc import Callable

from serve_app.control_plane.ports import Routers, StateStore
from serve_app.errors import FleetUnavailableError
from serve_app.state.serving import ServingState

SUPERSEDED = "a newer configuration is being applied"


class StateWriter:
    """Holds the current state and applies transitions to it.

    A change is stored before anything acts on it, so that after a crash the next fleet continues
    from there. If another fleet has written since, it supersedes this one permanently.
    """

    def __init__(self, store: StateStore, routers: Routers) -> None:
        self._store, self._routers = store, routers
        self._changing = asyncio.Lock()
        self._state: ServingState | None = None
        self.superseded = False
        """Whether another fleet writes now, so that this one must not act any more."""

    @property
    def state(self) -> ServingState:
        """Return the current state."""
        assert self._state is not None, "expected begin() before any use of the state"
        return self._state

    async def begin(self, state: ServingState, before: ServingState | None) -> bool:
        """Start with `state`, which replaces `before` in the store.

        Return False if the stored one changed.
        """
        revision = before.revision if before else 0
        if state != before and not await self._store.write(state, revision):
            return False
        self._state = state
        return True

    async def change(self, transition: Callable[[ServingState], ServingState]) -> None:
        """Store the state that a transition leads to, then broadcast it to the routers.

        Raises:
            FleetUnavailableError: another fleet has taken over; nothing was changed.
        """
        async with self._changing:
            if self.superseded:
                raise FleetUnavailableError(SUPERSEDED)
            state = transition(self.state)
            if state == self.state:
                return
            if not await self._store.write(state, self.state.revision):
                self.superseded = True
                raise FleetUnavailableError(SUPERSEDED)
            self._state = state
            await self._routers.adopt(state)

    async def require_current(self) -> None:
        """Read the stored state, and raise if another fleet has written it.

        Raises:
            FleetUnavailableError: another fleet has taken over.
        """
        async with self._changing:
            stored = await self._store.read()
            if stored is None or stored.revision != self.state.revision:
                self.superseded = True
        if self.superseded:
            raise FleetUnavailableError(SUPERSEDED)
