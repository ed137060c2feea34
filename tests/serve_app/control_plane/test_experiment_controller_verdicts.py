"""Verdicts, planned ends and exposure steps are applied, in a world in memory."""

import pytest

from serve_app.experiments.decision import Action
from serve_app.experiments.definition import EndReason, ExperimentStatus
from serve_app.experiments.store import HistoryEntry
from tests.serve_app.control_plane.experiment_world import (
    START,
    definition,
    splitting_shares,
    start_controller,
    start_fleet,
)
from tests.serve_app.control_plane.world import NAME


async def test_planned_end_has_one_last_analysis(world, controller, store, clock):
    await controller.create(definition(duration_hours=2))
    clock.pass_hours(1.9)
    await controller.reconcile()
    assert splitting_shares(world) == {"a_b": 0.1}
    clock.pass_hours(0.2)
    await controller.reconcile()
    assert store.stored["a_b"].end_reason is EndReason.DURATION
    assert (store.planned_ends, splitting_shares(world)) == ([True], {})
    await controller.reconcile()
    assert store.actions() == ["created", "ended"]


@pytest.mark.parametrize("action", [Action.PROMOTE, Action.ROLLBACK])
async def test_verdict_is_not_applied_by_default(world, controller, store, action, promoted):
    await controller.create(definition())
    store.recommends = action
    await controller.reconcile()
    assert (store.actions(), promoted) == (["created"], [])
    assert splitting_shares(world) == {"a_b": 0.1}


async def test_rollback_stops_the_traffic_of_treatment(world, controller, store, promoted):
    await controller.create(definition(auto_apply=True, horizon_s=60))
    store.recommends = Action.ROLLBACK
    await controller.reconcile()
    assert (splitting_shares(world), world.serving(), promoted) == ({}, "1.0.0", [])
    assert store.stored["a_b"].end_reason is EndReason.ROLLED_BACK
    assert store.entries["a_b"][-1].details["analysis"]["status"] == "completed"


async def test_promotion_promotes_reloads_and_ends(world, controller, store, promoted):
    await controller.create(definition(auto_apply=True, horizon_s=60), "alice")
    store.recommends = Action.PROMOTE
    await controller.reconcile()
    assert promoted == [(NAME, "1.1.0", "experiment a_b", "so it is; created by alice")]
    assert (world.serving(), splitting_shares(world)) == ("1.1.0", {})
    assert store.stored["a_b"].end_reason is EndReason.PROMOTED
    assert store.actions() == ["created", "promoting", "promoted"]


async def test_failing_treatment_is_not_promoted(world, controller, store, promoted):
    """Its promotion waits until the circuit breaker of every router is closed."""
    await controller.create(definition(auto_apply=True, horizon_s=60))
    store.recommends = Action.PROMOTE
    for router in world.routers:
        router.tripped = frozenset({"a_b"})
    await controller.reconcile()
    assert (promoted, splitting_shares(world)) == ([], {"a_b": 0.1})
    for router in world.routers:
        router.tripped = frozenset()
    await controller.reconcile()
    assert store.actions() == ["created", "promoting", "promoted"]


async def test_next_fleet_completes_a_promotion(world, controller, store, clock, promoted):
    """It makes no second analysis: by now the figures may recommend something else."""
    await controller.create(definition(auto_apply=True, horizon_s=60))
    details = {"analysis": {"recommendation": {"action": "promote", "reasons": ["as it was"]}}}
    await store.note("a_b", HistoryEntry(time=START, action="promoting", details=details))
    world.hold(production="1.1.0")
    store.recommends, store.planned_ends = Action.ROLLBACK, []
    successor = start_controller(await start_fleet(world), world, store, clock, promoted)
    await successor.reconcile()
    assert (promoted, store.planned_ends, world.serving()) == ([], [], "1.1.0")
    assert store.actions() == ["created", "promoting", "promoted"]
    assert store.stored["a_b"].final_report["recommendation"]["reasons"] == ["as it was"]


async def test_later_promotion_by_hand_is_not_undone(world, controller, store, promoted):
    await controller.create(definition(auto_apply=True, horizon_s=60))
    world.hold(production="1.2.0")
    store.recommends = Action.PROMOTE
    await controller.reconcile()
    assert (promoted, splitting_shares(world)) == ([], {})
    stored = store.stored["a_b"]
    assert stored.end_reason is EndReason.SUPERSEDED
    assert "production of toy is 1.2.0 now" in stored.final_report["recommendation"]["reasons"][-1]


async def test_last_analysis_waits_for_the_last_outcomes(world, controller, store, clock):
    """They arrive one horizon after the traffic has ended."""
    await controller.create(definition(duration_hours=2, horizon_s=3600))
    clock.pass_hours(2.1)
    await controller.reconcile()
    assert (splitting_shares(world), store.planned_ends) == ({}, [])
    assert store.stored["a_b"].status is ExperimentStatus.RUNNING
    clock.pass_hours(1)
    await controller.reconcile()
    assert (store.planned_ends, store.stored["a_b"].end_reason) == ([True], EndReason.DURATION)


async def test_exposure_waits_for_the_reports_of_routers(world, controller, store, clock):
    """Without them the circuit breakers may be open."""

    async def no_reports():
        return []

    await controller.create(definition(exposure_steps=(0.01, 0.1), min_samples=10))
    clock.pass_hours(1.1)
    store.treated = 10
    world.reports = no_reports
    await controller.reconcile()
    assert store.actions() == ["created"]


async def test_exposure_grows_step_by_step(world, controller, store, clock):
    steps = (0.01, 0.05, 0.1)
    await controller.create(definition(exposure_steps=steps, exposure_step_hours=1, min_samples=10))
    assert splitting_shares(world) == {"a_b": 0.01}
    clock.pass_hours(1.1)
    await controller.reconcile()
    assert splitting_shares(world) == {"a_b": 0.01}, "treatment has too few predictions"
    store.treated = 10
    await controller.reconcile()
    assert splitting_shares(world) == {"a_b": 0.05}
    await controller.reconcile()
    assert splitting_shares(world) == {"a_b": 0.05}, "a step lasts an hour"
    store.recommends = Action.ROLLBACK
    clock.pass_hours(1.1)
    await controller.reconcile()
    assert splitting_shares(world) == {"a_b": 0.05}, "exposure does not grow while harm is likely"
    store.recommends = Action.CONTINUE
    await controller.reconcile()
    assert splitting_shares(world) == {"a_b": 0.1}
    assert store.actions() == ["created", "exposed", "exposed"]


async def test_exposure_survives_the_fleet(world, controller, store, clock, promoted):
    """The next fleet reads the share from the history, also if the serving state has lost it."""
    await controller.create(definition(exposure_steps=(0.01, 0.05, 0.1), min_samples=10))
    clock.pass_hours(1.1)
    store.treated = 10
    await controller.reconcile()
    assert splitting_shares(world) == {"a_b": 0.05}
    world.written = world.written.model_copy(update={"experiments": ()})
    for router in world.routers:
        router.state = world.written
    successor = start_controller(await start_fleet(world), world, store, clock, promoted)
    await successor.reconcile()
    assert splitting_shares(world) == {"a_b": 0.05}
