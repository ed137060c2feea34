"""Experiments from their creation to their verdict, in a world in memory."""

import asyncio
import math
from datetime import UTC, datetime, timedelta

import pytest

from serve_app.errors import (
    ExperimentConflictError,
    InvalidRequestError,
    NoSuchExperimentError,
    NotRegisteredError,
    UnusableVersionError,
)
from serve_app.experiments.analysis import Analysis, analyse
from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.decision import Action, Recommendation
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.running import RunningExperiment
from serve_app.experiments.store import HistoryEntry, StoredExperiment
from serve_app.fleet.conductor import Conductor, Look
from tests.serve_app.fleet.world import NAME, World

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

    async def exposure(self, experiment):
        share, since = experiment.definition.first_share, experiment.started_at
        for entry in self.entries[experiment.definition.experiment_id]:
            if entry.action == "exposed":
                share, since = entry.details["share"], entry.time
        return RunningExperiment(
            definition=experiment.definition, treatment_share=share, exposed_at=since
        )

    async def look(self, experiment, since, *, status=None, at_planned_end=False):
        self.looks.append(at_planned_end)
        clock = BlockClock.of(experiment.definition, experiment.started_at)
        empty = analyse(experiment.definition, clock, [], at_planned_end=at_planned_end)
        verdict = Recommendation(action=self.recommends, reasons=("so it is",))
        return Look(Analysis(empty.document, empty.evidence, verdict), self.treated)

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


@pytest.fixture
def world():
    world = World(routers=2)
    world.register("1.0.0", "1.1.0", "1.2.0", production="1.0.0")
    return world


@pytest.fixture
def book():
    return Book()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def promoted():
    return []


@pytest.fixture
async def conductor(world, book, clock, promoted):
    return await conduct(world, book, clock, promoted)


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


async def test_a_treatment_is_loaded_before_it_gets_its_first_request(world, conductor, book):
    await conductor.create(definition())
    assert "toy:1.1.0" in world.running
    assert dividing(world) == {"a_b": 0.1}
    assert world.serving() == "1.0.0"


async def test_an_arm_is_never_unloaded_while_its_experiment_runs(world, conductor, book):
    await conductor.create(definition())
    for _ in range(20):
        await conductor._fleet.tend()
        await world.sleep(1)
    assert "toy:1.1.0" in world.running
    await conductor.stop("a_b")
    for _ in range(20):
        await conductor._fleet.tend()
        await world.sleep(1)
    assert sorted(world.running) == ["toy:1.0.0"]


async def test_a_treatment_that_cannot_be_loaded_is_no_experiment(world, conductor, book):
    world.damaged = {"1.1.0"}
    with pytest.raises(UnusableVersionError, match="sha256"):
        await conductor.create(definition())
    with pytest.raises(NotRegisteredError):
        await conductor.create(definition(treatment_model_version="9.9.9"))
    assert (book.stored, dividing(world)) == ({}, {})


async def test_a_second_experiment_on_the_model_is_refused_with_the_reason(world, conductor):
    await conductor.create(definition())
    with pytest.raises(ExperimentConflictError, match="'a_b' is running on model 'toy'"):
        await conductor.create(definition(experiment_id="c", treatment_model_version="1.2.0"))
    assert "toy:1.2.0" not in world.running
    await conductor.stop("a_b")
    with pytest.raises(ExperimentConflictError, match="exists already"):
        await conductor.create(definition())


async def test_the_models_own_dead_band_is_taken_where_none_is_given(world, conductor):
    for number, each in world.versions.items():
        world.versions[number] = each.model_copy(update={"dataset_info": {"dead_band": 0.001}})
    assert (await conductor.create(definition())).dead_band == 0.001
    await conductor.stop("a_b")
    given = await conductor.create(definition(experiment_id="c", dead_band=0.0))
    assert given.dead_band == 0.0


async def test_arms_of_different_windows_cannot_answer_the_same_requests(world, conductor):
    other = world.versions["1.1.0"].model_copy(update={"input_shape": (5, 2)})
    world.versions["1.1.0"] = other
    with pytest.raises(InvalidRequestError, match=r"windows of \(3, 2\) as control does"):
        await conductor.create(definition())


async def test_a_stopped_experiment_divides_nothing_and_keeps_its_first_end(
    world, conductor, book, clock
):
    await conductor.create(definition())
    final = await conductor.stop("a_b")
    assert (final["status"], dividing(world)) == ("completed", {})
    assert book.actions() == ["created", "stopped"]
    assert book.entries["a_b"][-1].details["analysis"] == final
    assert await conductor.stop("a_b") == final
    assert book.actions() == ["created", "stopped"]
    with pytest.raises(NoSuchExperimentError):
        await conductor.stop("other")


async def test_the_planned_end_makes_one_last_analysis(world, conductor, book, clock):
    await conductor.create(definition(duration_hours=2))
    clock.pass_hours(1.9)
    await conductor.tend()
    assert dividing(world) == {"a_b": 0.1}
    clock.pass_hours(0.2)
    await conductor.tend()
    assert book.stored["a_b"].end_reason is EndReason.DURATION
    assert (book.looks, dividing(world)) == ([True], {})
    await conductor.tend()
    assert book.actions() == ["created", "ended"]


@pytest.mark.parametrize("action", [Action.PROMOTE, Action.ROLLBACK])
async def test_a_verdict_is_only_told_where_it_is_not_to_be_applied(
    world, conductor, book, action, promoted
):
    await conductor.create(definition())
    book.recommends = action
    await conductor.tend()
    assert (book.actions(), promoted, dividing(world)) == (["created"], [], {"a_b": 0.1})


async def test_a_rollback_stops_the_treatments_traffic(world, conductor, book, promoted):
    await conductor.create(definition(auto_apply=True, horizon_s=60))
    book.recommends = Action.ROLLBACK
    await conductor.tend()
    assert (dividing(world), world.serving(), promoted) == ({}, "1.0.0", [])
    assert book.stored["a_b"].end_reason is EndReason.ROLLED_BACK
    assert book.entries["a_b"][-1].details["analysis"]["status"] == "completed"


async def test_a_promotion_promotes_reloads_and_ends(world, conductor, book, promoted):
    await conductor.create(definition(auto_apply=True, horizon_s=60))
    book.recommends = Action.PROMOTE
    await conductor.tend()
    assert promoted == [(NAME, "1.1.0", "experiment a_b", "so it is")]
    assert (world.serving(), dividing(world)) == ("1.1.0", {})
    assert book.stored["a_b"].end_reason is EndReason.PROMOTED
    assert book.actions() == ["created", "promoting", "promoted"]


async def test_a_promotion_is_carried_on_by_the_next_fleet_without_a_new_look(
    world, conductor, book, clock, promoted
):
    """It died after the registry had the promotion; by now the numbers say something else."""
    await conductor.create(definition(auto_apply=True, horizon_s=60))
    details = {"analysis": {"recommendation": {"action": "promote", "reasons": ["as it was"]}}}
    await book.note("a_b", HistoryEntry(time=BEGINNING, action="promoting", details=details))
    world.hold(production="1.1.0")
    book.recommends, book.looks = Action.ROLLBACK, []
    successor = await conduct(world, book, clock, promoted)
    await successor.tend()
    assert (promoted, book.looks, world.serving()) == ([], [], "1.1.0")
    assert book.actions() == ["created", "promoting", "promoted"]
    assert book.stored["a_b"].final_report["recommendation"]["reasons"] == ["as it was"]


async def test_a_promotion_does_not_undo_a_later_one_by_hand(world, conductor, book, promoted):
    await conductor.create(definition(auto_apply=True, horizon_s=60))
    world.hold(production="1.2.0")
    book.recommends = Action.PROMOTE
    await conductor.tend()
    assert (promoted, dividing(world)) == ([], {})
    stored = book.stored["a_b"]
    assert stored.end_reason is EndReason.SUPERSEDED
    assert "production of toy is 1.2.0 now" in stored.final_report["recommendation"]["reasons"][-1]


async def test_the_last_look_waits_for_the_outcomes_of_the_last_predictions(
    world, conductor, book, clock
):
    await conductor.create(definition(duration_hours=2, horizon_s=3600))
    clock.pass_hours(2.1)
    await conductor.tend()
    assert (dividing(world), book.looks) == ({}, [])
    assert book.stored["a_b"].status is ExperimentStatus.RUNNING
    clock.pass_hours(1)
    await conductor.tend()
    assert (book.looks, book.stored["a_b"].end_reason) == ([True], EndReason.DURATION)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"auto_apply": True}, "horizon_s: expected how long a position is held"),
        ({"duration_hours": 1, "horizon_s": 3600}, "horizon_s: expected less than"),
        ({"duration_hours": 1e300}, "duration_hours: expected at most 87,840 hours"),
        ({"auto_apply": True, "horizon_s": 1, "assignment": "symbol"}, "auto_apply: expected fa"),
        ({"auto_apply": True, "horizon_s": 1, "assignment": "unit_id"}, "auto_apply: expected fa"),
    ],
)
async def test_what_cannot_end_in_a_verdict_to_act_on_is_refused(conductor, book, fields, words):
    with pytest.raises(InvalidRequestError, match=words):
        await conductor.create(definition(**fields))
    assert book.stored == {}


@pytest.mark.parametrize("declared", [(0.001, 0.002), (math.nan, math.nan), (True, True), (-1, -1)])
async def test_dead_bands_that_disagree_or_are_none_are_refused(world, conductor, declared):
    for version, value in zip(("1.0.0", "1.1.0"), declared, strict=True):
        world.versions[version] = world.versions[version].model_copy(
            update={"dataset_info": {"dead_band": value}}
        )
    with pytest.raises(InvalidRequestError, match="dead_band: expected to be given, or"):
        await conductor.create(definition())
    assert (await conductor.create(definition(dead_band=0.5))).dead_band == 0.5


async def test_no_exposure_grows_while_no_router_reports(world, conductor, book, clock):
    await conductor.create(definition(exposure_stages=(0.01, 0.1), min_samples=10))
    clock.pass_hours(1.1)
    book.treated = 10
    world.reports = nobody_reports
    await conductor.tend()
    assert book.actions() == ["created"]


async def nobody_reports():
    return []


async def test_an_automatic_promotion_across_models_is_refused_at_once(world, conductor):
    with pytest.raises(InvalidRequestError, match="control and treatment of one model"):
        await conductor.create(
            definition(auto_apply=True, horizon_s=60, treatment_model_name="other")
        )


async def test_exposure_grows_stage_by_stage_and_survives_the_fleet(
    world, conductor, book, clock, promoted
):
    stages = (0.01, 0.05, 0.1)
    await conductor.create(definition(exposure_stages=stages, stage_hours=1, min_samples=10))
    assert dividing(world) == {"a_b": 0.01}
    clock.pass_hours(1.1)
    await conductor.tend()
    assert dividing(world) == {"a_b": 0.01}, "treatment has not been seen often enough"
    book.treated = 10
    await conductor.tend()
    assert dividing(world) == {"a_b": 0.05}
    await conductor.tend()
    assert dividing(world) == {"a_b": 0.05}, "a stage lasts an hour"
    world.written = world.written.model_copy(update={"experiments": ()})
    for router in world.routers:
        router.state = world.written
    successor = await conduct(world, book, clock, promoted)
    await successor.tend()
    assert dividing(world) == {"a_b": 0.05}
    book.recommends = Action.ROLLBACK
    clock.pass_hours(1.1)
    await successor.tend()
    assert dividing(world) == {"a_b": 0.05}, "nothing grows while it does harm"
    book.recommends = Action.CONTINUE
    await successor.tend()
    assert dividing(world) == {"a_b": 0.1}
    assert book.actions() == ["created", "exposed", "exposed"]


async def test_what_the_book_says_is_put_right_after_a_death_in_between(
    world, conductor, book, clock, promoted
):
    """Written down and not yet divided; ended and still divided."""
    await book.create(definition(), BEGINNING)
    await conductor.tend()
    assert (dividing(world), "toy:1.1.0" in world.running) == ({"a_b": 0.1}, True)
    entry = HistoryEntry(time=BEGINNING, action="stopped", details={})
    await book.end("a_b", EndReason.STOPPED, {}, entry)
    await conductor.tend()
    assert dividing(world) == {}


async def test_a_book_that_does_not_answer_stops_nothing(world, conductor, book):
    await conductor.create(definition())

    async def away():
        raise NoSuchExperimentError("", "the log is away")

    book.running = away
    task = asyncio.create_task(conductor.tend_for_ever())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    assert dividing(world) == {"a_b": 0.1}
