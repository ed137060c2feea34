"""Experiments in a world in memory: their store, a clock, and their controller."""

from datetime import UTC, datetime, timedelta

from serve_app.control_plane.experiment_controller import ExperimentController
from serve_app.errors import ExperimentConflictError, NoSuchExperimentError
from serve_app.experiments.analysis import Analysis, analyse
from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.decision import Action, Recommendation
from serve_app.experiments.definition import ExperimentDefinition, ExperimentStatus
from serve_app.experiments.interim_analysis import InterimAnalysis
from serve_app.experiments.store import HistoryEntry, StoredExperiment
from tests.serve_app.control_plane.world import NAME

PRODUCTION = {"version": "production"}
START = datetime(2026, 1, 2, tzinfo=UTC)


class Store:
    """The stored experiments; an analysis returns the recommendation that a test sets."""

    def __init__(self):
        self.stored, self.entries = {}, {}
        self.recommends, self.treated = Action.CONTINUE, 0
        self.planned_ends = []
        """For each analysis so far, whether it was the one at the planned end."""
        self.end_error = None

    async def create(self, definition, started_at, by, key):
        name = definition.experiment_id
        created = {"by": by, "key": key}
        if name in self.stored:
            if self.entries[name][0].details == created and self.stored[name].ended_at is None:
                return False
            raise ExperimentConflictError(name, f"experiment {name!r} exists already")
        self.stored[name] = StoredExperiment(
            definition=definition,
            status=ExperimentStatus.RUNNING,
            started_at=started_at,
            ended_at=None,
            end_reason=None,
            final_report=None,
        )
        self.entries[name] = [HistoryEntry(time=started_at, action="created", details=created)]
        return True

    async def end(self, experiment_id, reason, report, entry):
        if self.end_error:
            raise self.end_error
        before = self.stored[experiment_id]
        if before.status is ExperimentStatus.RUNNING:
            self.stored[experiment_id] = StoredExperiment(
                definition=before.definition,
                status=ExperimentStatus.COMPLETED,
                started_at=before.started_at,
                ended_at=entry.time,
                end_reason=reason,
                final_report=report,
            )
            self.entries[experiment_id].append(entry)
        return self.stored[experiment_id]

    async def note(self, experiment_id, entry):
        self.entries[experiment_id].append(entry)

    async def experiment(self, experiment_id):
        if experiment_id not in self.stored:
            raise NoSuchExperimentError(experiment_id, f"no experiment {experiment_id!r}")
        return self.stored[experiment_id]

    async def running(self):
        return [stored for stored in self.stored.values() if stored.ended_at is None]

    async def history(self, experiment_id):
        return self.entries[experiment_id]

    async def analyse(self, experiment, exposed_at, *, status=None, at_planned_end=False):
        self.planned_ends.append(at_planned_end)
        clock = BlockClock.of(experiment.definition, experiment.started_at)
        empty = analyse(experiment.definition, clock, [], at_planned_end=at_planned_end)
        verdict = Recommendation(action=self.recommends, reasons=("so it is",))
        return InterimAnalysis(Analysis(empty.document, empty.evidence, verdict), self.treated)

    def actions(self, experiment_id="a_b"):
        return [entry.action for entry in self.entries[experiment_id]]


class Clock:
    now = START

    def __call__(self):
        return self.now

    def pass_hours(self, hours):
        self.now += timedelta(hours=hours)


def definition(**fields):
    return ExperimentDefinition(
        **{
            "experiment_id": "a_b",
            "control_model_name": NAME,
            "control_model_version": "1.0.0",
            "treatment_model_name": NAME,
            "treatment_model_version": "1.1.0",
            **fields,
        }
    )


async def start_fleet(world):
    fleet = world.fleet()
    await fleet.start(world.settings(PRODUCTION, loading={"unload_idle_s": 5}))
    await fleet.reconcile()
    return fleet


def start_controller(fleet, world, store, clock, promoted):
    """Return a controller whose promotions are recorded in `promoted` and take effect in the
    world."""

    async def promote(model, version, by, reason):
        promoted.append((model, version, by, reason))
        world.hold(production=version)

    return ExperimentController(fleet, store, promote, now=clock, sleep=world.sleep)


def splitting_shares(world):
    """Return treatment's share by experiment, over all routers."""
    return {
        running.experiment_id: running.treatment_share
        for router in world.routers
        for running in router.state.experiments
    }
