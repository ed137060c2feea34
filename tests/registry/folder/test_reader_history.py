"""The history of a model, and the values derived from it."""

from datetime import UTC, datetime, timedelta

import pytest

from registry import ModelStage, errors
from registry.feature_sets import FeatureSetRecord
from registry.records import Action

NAME = "hybrid_cnn_lstm"
FEATURE_SET = FeatureSetRecord(
    name="hourly",
    version="1",
    sha256="0" * 64,
    feature_names=[f"feature_{number}" for number in range(110)],
    checked_on="300 bars",
)


def actions(folder):
    return [(entry.action, entry.version) for entry in folder.reader.history(NAME)]


def test_entry_describes_the_change(folder, register, promote):
    """An entry contains the action, version, stages, replaced version, author and reason."""
    register("1.0.0", "1.1.0")
    promote("1.0.0")
    folder.stages.set_stage(NAME, "1.1.0", ModelStage.STAGING)
    promote("1.1.0")
    *_, last = folder.reader.history(NAME)
    assert (last.action, last.version, last.replaced) == (Action.PROMOTED, "1.1.0", "1.0.0")
    assert (last.from_stage, last.to_stage) == (ModelStage.STAGING, ModelStage.PRODUCTION)
    assert (last.by, last.reason) == ("ops", "promote 1.1.0")
    assert actions(folder) == [
        (Action.REGISTERED, "1.0.0"),
        (Action.REGISTERED, "1.1.0"),
        (Action.PROMOTED, "1.0.0"),
        (Action.STAGED, "1.1.0"),
        (Action.PROMOTED, "1.1.0"),
    ]


def test_every_action_is_recorded(folder, register, promote):
    """Every kind of change adds an entry."""
    register("1.0.0", "1.1.0")
    promote("1.0.0", "1.1.0")
    folder.stages.rollback(NAME)
    folder.stages.set_stage(NAME, "1.1.0", ModelStage.STAGING)
    folder.stages.set_stage(NAME, "1.1.0", ModelStage.NONE)
    folder.versions.update_metrics(NAME, "1.1.0", {"accuracy": 0.5})
    folder.artifacts.add(NAME, "1.1.0", {}, {}, None)
    folder.artifacts.pin(NAME, "1.1.0", "model.pt")
    folder.versions.sign(NAME, "1.1.0", {}, {})
    folder.versions.accept_feature_set(NAME, "1.1.0", FEATURE_SET, {}, {})
    folder.stages.retire(NAME, "1.1.0")
    folder.versions.delete(NAME, "1.1.0")
    assert {entry.action for entry in folder.reader.history(NAME)} == set(Action)


def test_no_op_is_not_recorded(folder, register, promote):
    """A call that changes nothing adds no entry."""
    register("1.0.0")
    promote("1.0.0")
    before = folder.reader.history(NAME)
    promote("1.0.0")
    register("1.0.0")
    assert folder.reader.history(NAME) == before


def test_history_survives_last_version(folder, register):
    """The history remains after the last version is deleted."""
    register("1.0.0")
    folder.versions.delete(NAME, "1.0.0")
    assert actions(folder) == [(Action.REGISTERED, "1.0.0"), (Action.DELETED, "1.0.0")]
    with pytest.raises(errors.UnknownModelError):
        folder.reader.history("other")


def test_production_at_any_time(folder, register, promote):
    """production_at returns the version in Production at any instant; the zone is required."""
    register("1.0.0", "1.1.0")
    promote("1.0.0", "1.1.0")
    folder.stages.rollback(NAME)
    first, second, third = (entry.time for entry in folder.reader.history(NAME)[2:])
    instant = timedelta(microseconds=1)
    moments = [first - instant, first, second - instant, second, third, third + timedelta(days=9)]
    assert [folder.reader.production_at(NAME, moment) for moment in moments] == [
        None,
        "1.0.0",
        "1.0.0",
        "1.1.0",
        "1.0.0",
        "1.0.0",
    ]
    with pytest.raises(errors.InvalidNameError, match="a time with a time zone"):
        folder.reader.production_at(NAME, datetime(2026, 1, 1))


def test_history_is_ordered_when_clock_goes_back(folder, register, promote, clock):
    """Times increase strictly even if the clock is set back."""
    register("1.0.0", "1.1.0")
    promote("1.0.0")
    clock.now = datetime(2026, 1, 1, tzinfo=UTC)
    promote("1.1.0")
    times = [entry.time for entry in folder.reader.history(NAME)]
    assert times == sorted(set(times))
