"""Loads one version beside the others; a load that fails leaves everything as it was."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from registry.errors import RegistryError
from registry.records import ModelMetadata, check_has_reference
from serve_app.control_plane.holds import Holds
from serve_app.control_plane.ports import Catalogue
from serve_app.control_plane.reconciler import Reconciler
from serve_app.control_plane.state_writer import StateWriter
from serve_app.errors import FleetUnavailableError, UnusableVersionError
from serve_app.state.serving import ServedVersion
from serve_app.state.transitions import add, restore, retire
from serve_app.state.version_settings import settings_for
from serve_app.timeouts import VERSION_LOAD_S
from serve_app.versions import VersionRef

LOADING_PERIOD_S = 0.1
"""Period of the observations while a command waits for a version."""


class VersionLoading:
    """Adds versions to the state and waits until they are loaded."""

    def __init__(
        self,
        catalogue: Catalogue,
        writer: StateWriter,
        reconciler: Reconciler,
        holds: Holds,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._catalogue, self._writer = catalogue, writer
        self._reconciler, self._holds = reconciler, holds
        self._clock, self._sleep = clock, sleep

    async def load(
        self, metadata: ModelMetadata, stages: Sequence[str], deadline_s: float | None = None
    ) -> None:
        """Return once a version is loaded with the settings that its stages give it.

        Args:
            metadata: metadata of the version.
            stages: the stages that it has, or is about to have.
            deadline_s: on the clock; VERSION_LOAD_S from now if None.

        Raises:
            UnusableVersionError: it cannot be loaded; nothing has changed.
            FleetUnavailableError: it took too long; nothing has changed.
        """
        ref = VersionRef.of(metadata)
        deadline_s = self.deadline_s() if deadline_s is None else deadline_s
        await self._try_out(metadata, deadline_s - self._clock())
        before = self._writer.state.find(ref)
        with self._holds.holding(ref):
            await self._writer.change(
                lambda state: add(state, metadata, settings_for(state.settings, metadata, stages))
            )
            try:
                await self.wait_until_loaded(metadata, deadline_s)
            except Exception:
                await self._undo(ref, before)
                raise

    async def wait_until_loaded(self, metadata: ModelMetadata, deadline_s: float) -> None:
        """Return once a version of the state is loaded.

        Raises:
            UnusableVersionError: it cannot be loaded.
            FleetUnavailableError: it is not loaded by the deadline.
        """
        ref = VersionRef.of(metadata)
        while self._clock() < deadline_s:
            observation = await self._reconciler.reconcile()
            if ref in observation.loaded:
                return
            if ref in observation.problems:
                problem = observation.problems[ref]
                raise UnusableVersionError(metadata.name, metadata.version, problem)
            await self._sleep(LOADING_PERIOD_S)
        raise FleetUnavailableError(f"{ref} was not loaded within {VERSION_LOAD_S:.0f} s")

    def deadline_s(self) -> float:
        """Return the time on the clock by which a load that begins now must have ended."""
        return self._clock() + VERSION_LOAD_S

    async def _try_out(self, metadata: ModelMetadata, timeout_s: float) -> None:
        try:
            if self._writer.state.settings.require_reference_outputs:
                check_has_reference(metadata)
            async with asyncio.timeout(timeout_s):
                await self._catalogue.try_out(metadata)
        except TimeoutError:
            problem = f"{VersionRef.of(metadata)} did not run within {VERSION_LOAD_S:.0f} s"
            raise FleetUnavailableError(problem) from None
        except RegistryError as error:
            raise UnusableVersionError(metadata.name, metadata.version, str(error)) from error

    async def _undo(self, ref: VersionRef, before: ServedVersion | None) -> None:
        """Remove a version that did not load, unless it has been pinned meanwhile."""
        if before is None:
            await self._writer.change(lambda state: retire(state, {ref}))
        else:
            await self._writer.change(lambda state: restore(state, before))
