"""The environment of a fleet in memory: registry, Serve, routers and disk; each may fail."""

import asyncio
from dataclasses import dataclass, field

from registry import ModelStage
from registry.errors import CorruptArtifactError, InvalidMetadataError, UnknownVersionError
from registry.records import STAGE_NAMES
from serve_app.control_plane.fleet import Fleet
from serve_app.control_plane.ports import Launch, LaunchPhase, RouterReplicas
from serve_app.settings import AppSettings
from serve_app.state.reports import Reach, RouterReport
from serve_app.versions import VersionRef
from testkit.models import metadata

NAME = "toy"
PRODUCTION, STAGING = {"version": "production"}, {"version": "staging"}
QUICK = {"unload_idle_s": 5}


class Died(BaseException):
    """The fleet's process has died."""


@dataclass
class Router:
    """A router that reaches running versions, and those that are placed in it.

    A stuck router follows no newer state.
    """

    name: str
    world: "World"
    state: object = None
    is_stuck: bool = False
    stuck_until_s: float = 0.0
    """Until this time neither a broadcast nor a read updates the router."""
    used_s: dict = field(default_factory=dict)
    tripped: frozenset = frozenset()

    def report(self):
        reaches = {}
        for version in self.state.versions if self.state else ():
            ref, here = version.ref, version.settings.placement == "router"
            broken = self.world.is_broken(version)
            reaches[ref] = Reach(
                loaded=self.world.is_up(version) and version.takes_over,
                problem="out of memory" if here and broken else None,
                idle_s=self.world.now_s - self.used_s.setdefault(ref, self.world.now_s),
            )
        revision = self.state.revision if self.state else 0
        return RouterReport(self.name, revision, reaches, self.tripped)


class World:
    """`steps` counts the fleet's actions; at number `dies_at` the fleet's process dies."""

    def __init__(self, routers=1):
        self.now_s = 100.0
        self.written = None
        self.versions = {}
        self.damaged, self.broken, self.unreadable = set(), set(), set()
        self.broken_threads = None
        """Versions with this number of threads do not load."""
        self.launches_by_id, self.launched = {}, []
        self.routers = [Router(f"r{at}", self) for at in range(routers)]
        self.stopping = set()
        """Names of the routers that are being replaced: no broadcast reaches them."""
        self.steps, self.dies_at = 0, None

    def register(self, *versions, **holders):
        for version in versions:
            self.versions[version] = metadata(version=version)
        self.hold(**holders)

    def hold(self, **holders):
        for number, registered in self.versions.items():
            stage = next((STAGE_NAMES[s] for s, v in holders.items() if v == number), None)
            self.versions[number] = registered.model_copy(
                update={"stage": stage or ModelStage.NONE}
            )

    def settings(self, *declared, **fields):
        versions = [{"model": NAME, **version} for version in declared]
        return AppSettings(default_model=NAME, versions=versions, **fields)

    def lookup(self, reference):
        if reference in self.unreadable:
            raise InvalidMetadataError("toy/v1.1.0/metadata.json", "it is no JSON")
        if reference in STAGE_NAMES:
            held = STAGE_NAMES[reference]
            registered = self.versions.values()
            return next((version for version in registered if version.stage is held), None)
        if reference not in self.versions:
            raise UnknownVersionError(NAME, reference, list(self.versions))
        return self.versions[reference]

    def fleet(self):
        return Fleet(self, self, self, self, clock=lambda: self.now_s, sleep=self.sleep)

    async def sleep(self, seconds):
        """Let time pass; a router that is not stuck reads the state once per second."""
        self.now_s += seconds
        if seconds >= 1:
            self._tell(self.written, self.routers)
        await asyncio.sleep(0)

    def _tell(self, state, routers):
        for router in routers:
            if not router.is_stuck and self.now_s >= router.stuck_until_s:
                router.state = state

    def listed(self):
        return [router for router in self.routers if router.name not in self.stopping]

    def _step(self):
        self.steps += 1
        if self.dies_at is not None and self.steps >= self.dies_at:
            raise Died

    @property
    def running(self):
        """The launches by version; the latest one of each."""
        return {launch_id.version: launch for launch_id, launch in self.launches_by_id.items()}

    def is_broken(self, version):
        number, threads = version.metadata.version, version.settings.num_threads
        return number in self.broken or threads == self.broken_threads

    def is_up(self, version):
        """Return whether a version would compute predictions with the settings that it has."""
        if version.settings.placement == "router":
            return not self.is_broken(version)
        launch = self.launches_by_id.get(version.launch_id)
        return launch is not None and launch.phase is LaunchPhase.RUNNING

    # StateStore

    async def read(self):
        return self.written

    async def write(self, state, replaces):
        self._step()
        if (self.written.revision if self.written else 0) != replaces:
            return False
        self.written = state.model_validate_json(state.model_dump_json())
        return True

    # Catalogue

    async def find(self, model, reference):
        return self.lookup(reference)

    async def try_out(self, metadata):
        if metadata.version in self.damaged:
            raise CorruptArtifactError("toy/model.onnx", "a" * 64, "b" * 64)

    # Launcher

    async def launches(self):
        return dict(self.launches_by_id)

    async def launch(self, version):
        self._step()
        self.launched.append(version.ref)
        self.launches_by_id[version.launch_id] = (
            Launch(LaunchPhase.FAILED, "it does not start")
            if self.is_broken(version)
            else Launch(LaunchPhase.RUNNING)
        )

    async def end(self, launch_id):
        self._step()
        self.launches_by_id.pop(launch_id)

    # Routers

    async def adopt(self, state):
        self._step()
        self._tell(state, self.listed())

    async def reports(self):
        return [router.report() for router in self.listed()]

    async def replicas(self):
        names = {router.name for router in self.routers}
        return RouterReplicas(frozenset(names - self.stopping), frozenset(self.stopping & names))

    # What a caller observes

    def serving(self, stage="production"):
        """Return the version that serves a stage, the same in every router."""
        (version,) = {router.state.stages[NAME][stage] for router in self.routers}
        return version

    def assert_answered(self):
        """Assert that every router reaches the version of every stage in its table."""
        for router in self.routers:
            for number in (router.state.stages.get(NAME, {}) if router.state else {}).values():
                version = router.state.find(VersionRef(NAME, number))
                assert any(map(self.is_up, version.loads)), (number, router.state)


async def settle(fleet, world, seconds=10):
    """Reconcile for a while."""
    for _ in range(seconds):
        await fleet.reconcile()
        world.assert_answered()
        await world.sleep(1)


def staged_world():
    """Return a world with two routers and three versions, two of them in a stage."""
    world = World(routers=2)
    world.register("1.0.0", "1.1.0", "1.2.0", production="1.0.0", staging="1.1.0")
    return world


async def started(world, *declared, loading=QUICK):
    """Return a fleet that has started with these declarations, and reconciled once."""
    fleet = world.fleet()
    await fleet.start(world.settings(*(declared or (PRODUCTION, STAGING)), loading=loading))
    await fleet.reconcile()
    return fleet
