"""Experiments in a world in memory: a book of them, a clock, and who conducts them."""

from datetime import UTC, datetime, timedelta

from serve_app.control_plane.experiment_controller import Conductor
from serve_app.errors import ExperimentConflictError, NoSuchExperimentError
from serve_app.experiments.analysis import Analysis, analyse
from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.decision import Action, Recommendation
from serve_app.experiments.definition import ExperimentDefinition, ExperimentStatus
from serve_app.experiments.interim_analysis import InterimAnalysis
from serve_app.experiments.store import HistoryEntry, StoredExperiment
from tests.serve_app.control_plane.world import NAME

PRODUCTION = {"version": "production"}
BEGINNING = datetime(2026, 1, 2, tzinfo=UTC)


class Book:
    """Experiments as they are written down, and what an analysis is to recommend."""

    def __init__(self):
        self.stored, self.entries = {}, {}
        self.recommends, self.treated = Action.CONTINUE, 0
        self.looks = []

    async def create(self, definition, started_at):
        name = definition.experiment_id
        if name in self.stored:
            raise ExperimentConflictError(name, f"experiment {name!r} exists already")
        self.stored[name] = StoredExperiment(
            definition=definition,
            status=ExperimentStatus.RUNNING,
            started_at=started_at,
            ended_at=None,
            end_reason=None,
            final_report=None,
        )
        self.entries[name] = [HistoryEntry(time=started_at, action="created", details={})]

    async def end(self, experiment_id, reason, report, entry):
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
        return [each for each in self.stored.values() if each.ended_at is None]

    async def history(self, experiment_id):
        return self.entries[experiment_id]

    async def analyse(self, experiment, since, *, status=None, at_planned_end=False):
        self.looks.append(at_planned_end)
        clock = BlockClock.of(experiment.definition, experiment.started_at)
        empty = analyse(experiment.definition, clock, [], at_planned_end=at_planned_end)
        verdict = Recommendation(action=self.recommends, reasons=("so it is",))
        return InterimAnalysis(Analysis(empty.document, empty.evidence, verdict), self.treated)

    def actions(self, experiment_id="a_b"):
        return [each.action for each in self.entries[experiment_id]]


class Clock:
    now = BEGINNING

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


async def conduct(world, book, clock, promoted):
    fleet = world.fleet()
    await fleet.start(world.settings(PRODUCTION, loading={"unload_idle_s": 5}))
    await fleet.tend()

    async def promote(model, version, by, reason):
        promoted.append((model, version, by, reason))
        world.hold(production=version)

    return Conductor(fleet, book, promote, now=clock, sleep=world.sleep)


def dividing(world):
    return {
        each.experiment_id: each.treatment_share
        for router in world.routers
        for each in router.state.experiments
    }
