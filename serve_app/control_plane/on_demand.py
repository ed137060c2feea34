"""Loads versions that requests name, in the background and within a limit."""

import asyncio
import logging
from collections.abc import Callable, Collection

from registry.records import ModelMetadata
from serve_app.control_plane.holds import Holds
from serve_app.control_plane.state_writer import StateWriter
from serve_app.control_plane.version_loading import VersionLoading
from serve_app.errors import FleetUnavailableError, TooManyVersionsError, UnusableVersionError
from serve_app.timeouts import LAUNCH_RETRY_S
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)


class OnDemandLoads:
    """Holds the loads in progress and the recent failures."""

    def __init__(
        self,
        loading: VersionLoading,
        writer: StateWriter,
        holds: Holds,
        clock: Callable[[], float],
    ) -> None:
        self._loading, self._writer = loading, writer
        self._holds, self._clock = holds, clock
        self._tasks: dict[VersionRef, asyncio.Task[None]] = {}
        self._failures: dict[VersionRef, tuple[float, str]] = {}

    def begin(self, metadata: ModelMetadata) -> None:
        """Start to load a version, unless it is served or being loaded.

        Raises:
            TooManyVersionsError: as many undeclared versions are loaded as the settings allow.
            UnusableVersionError: the version failed to load within the last LAUNCH_RETRY_S.
        """
        ref = VersionRef.of(metadata)
        state = self._writer.state
        if state.find(ref) or ref in self._tasks:
            return
        failed_s, problem = self._failures.get(ref, (0.0, ""))
        if problem and self._clock() - failed_s < LAUNCH_RETRY_S:
            raise UnusableVersionError(metadata.name, metadata.version, problem)
        limit = state.settings.loading.max_versions
        unpinned = [version.ref for version in state.versions if not state.is_pinned(version)]
        if len({*unpinned, *self._tasks}) >= limit:
            raise TooManyVersionsError(metadata.name, metadata.version, limit)
        self._tasks[ref] = asyncio.create_task(self._load(ref, metadata))

    async def wait_for(self, ref: VersionRef, timeout_s: float) -> None:
        """Return once a load of this version that is in progress has ended, or at the timeout."""
        if task := self._tasks.get(ref):
            await asyncio.wait({task}, timeout=timeout_s)

    def in_progress(self) -> Collection["asyncio.Task[None]"]:
        """Return the loads in progress."""
        return tuple(self._tasks.values())

    async def _load(self, ref: VersionRef, metadata: ModelMetadata) -> None:
        try:
            with self._holds.holding(ref):
                await self._loading.load(metadata, ())
        except UnusableVersionError as error:
            logger.warning("%s", error)
            self._failures[ref] = (self._clock(), error.problem)
        except FleetUnavailableError as error:
            logger.warning("%s is not loaded: %s", ref, error.problem)
        else:
            self._failures.pop(ref, None)
        finally:
            del self._tasks[ref]
