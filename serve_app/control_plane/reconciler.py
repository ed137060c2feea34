"""Moves the launches and the routers towards the serving state, step by step."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from serve_app.control_plane.draining import Draining
from serve_app.control_plane.holds import Holds
from serve_app.control_plane.launching import LaunchSchedule
from serve_app.control_plane.observation import Observation, idle, observe, unwanted
from serve_app.control_plane.ports import Launch, Launcher, LaunchPhase, Routers
from serve_app.control_plane.state_writer import StateWriter
from serve_app.state.serving import LaunchId
from serve_app.state.transitions import advance, mark_launched, record_loads, retire

logger = logging.getLogger(__name__)


class Reconciler:
    """Launches the versions of the state, moves its stages, and stops versions that it no longer
    has.

    Each step may be the last one before a crash: the next fleet observes where this one stopped.
    """

    def __init__(
        self,
        writer: StateWriter,
        launcher: Launcher,
        routers: Routers,
        holds: Holds,
        clock: Callable[[], float],
    ) -> None:
        self._writer, self._launcher, self._routers = writer, launcher, routers
        self._holds = holds
        self._schedule, self._draining = LaunchSchedule(clock), Draining(clock)
        self._reconciling = asyncio.Lock()

    async def reconcile(self) -> Observation:
        """Take every step that can be taken now; return what was observed.

        Raises:
            FleetUnavailableError: another fleet has taken over; this one changes nothing.
        """
        async with self._reconciling:
            await self._writer.require_current()
            launches = await self._launch_due(await self._launcher.launches())
            reports = await self._routers.reports()
            observation = observe(self._writer.state, launches, reports)
            await self._record(observation)
            await self._writer.change(lambda state: advance(state, observation.loaded))
            unused = idle(reports, self._writer.state.settings.loading.unload_idle_s)
            await self._writer.change(lambda state: retire(state, unused - self._holds.refs))
            oldest = min((report.revision for report in reports), default=0)
            await self._end_drained(launches, oldest)
            loaded = observation.loaded & self._writer.state.refs
            return Observation(loaded, observation.problems, observation.running)

    async def _record(self, observation: Observation) -> None:
        before = self._writer.state
        await self._writer.change(
            lambda state: record_loads(
                state, observation.running, observation.loaded, observation.problems
            )
        )
        for version in self._writer.state.versions:
            known = before.find(version.ref)
            if version.problem is not None and (known is None or version.problem != known.problem):
                serving = "; its previous settings serve" if version.replaces else ""
                logger.error("%s was not loaded: %s%s", version.ref, version.problem, serving)
            elif known is not None and known.replaces and not version.replaces:
                logger.info("%s is served with its changed settings", version.ref)

    async def _launch_due(self, launches: Mapping[LaunchId, Launch]) -> Mapping[LaunchId, Launch]:
        """Launch the versions that have no replicas with their settings; return all launches."""
        started = {}
        for version in [load for served in self._writer.state.versions for load in served.loads]:
            if self._schedule.is_due(version, launches.get(version.launch_id)):
                await self._writer.require_current()
                await self._launcher.launch(version)
                self._schedule.record(version.launch_id)
                started[version.launch_id] = Launch(LaunchPhase.STARTING)
                await self._writer.change(
                    lambda state, version=version: mark_launched(state, version)  # type: ignore[misc]
                )
        return {**launches, **started}

    async def _end_drained(self, launches: Mapping[LaunchId, Launch], oldest: int) -> None:
        state = self._writer.state
        leaving = unwanted(state, launches)
        for launch_id in self._draining.drained(leaving, state.revision, oldest):
            await self._writer.require_current()
            await self._launcher.end(launch_id)
            self._schedule.forget(launch_id)
