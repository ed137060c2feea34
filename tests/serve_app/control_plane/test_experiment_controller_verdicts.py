"""Verdicts, planned ends and stages of exposure are carried out, in a world in memory."""

import pytest

from serve_app.experiments.decision import Action
from serve_app.experiments.definition import EndReason, ExperimentStatus
from serve_app.experiments.store import HistoryEntry
from tests.serve_app.control_plane.experiment_world import BEGINNING, conduct, definition, dividing
from tests.serve_app.control_plane.world import NAME


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


async def test_what_fails_at_present_is_not_promoted_until_it_answers_again(
    world, conductor, book, promoted
):
    await conductor.create(definition(auto_apply=True, horizon_s=60))
    book.recommends = Action.PROMOTE
    for router in world.routers:
        router.tripped = frozenset({"a_b"})
    await conductor.tend()
    assert (promoted, dividing(world)) == ([], {"a_b": 0.1})
    for router in world.routers:
        router.tripped = frozenset()
    await conductor.tend()
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


async def test_no_exposure_grows_while_no_router_reports(world, conductor, book, clock):
    await conductor.create(definition(exposure_steps=(0.01, 0.1), min_samples=10))
    clock.pass_hours(1.1)
    book.treated = 10
    world.reports = nobody_reports
    await conductor.tend()
    assert book.actions() == ["created"]


async def nobody_reports():
    return []


async def test_exposure_grows_stage_by_stage_and_survives_the_fleet(
    world, conductor, book, clock, promoted
):
    stages = (0.01, 0.05, 0.1)
    await conductor.create(definition(exposure_steps=stages, exposure_step_hours=1, min_samples=10))
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
