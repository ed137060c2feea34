"""What happens to versions over time, and what the history tells of it."""

from datetime import UTC, datetime, timedelta

import pytest

from registry import ModelStage, errors
from registry.folder.serving_artifacts import ServingWriter
from registry.records import Action

NAME = "hybrid_cnn_lstm"
START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        self.now += timedelta(hours=1)
        return self.now


@pytest.fixture
def registry(tmp_path):
    return ServingWriter(tmp_path / "models", check=lambda *_: None, now=Clock())


@pytest.fixture
def versions(registry, tmp_path):
    """Register versions by number."""

    def register(*numbers):
        for number in numbers:
            file = tmp_path / f"{number}.pt"
            file.write_text(f"weights of {number}")
            registry.register(NAME, number, {"model.pt": file}, {"model_type": "Net"}, by="trainer")

    return register


def production(registry):
    return registry.get(NAME, stage=ModelStage.PRODUCTION).metadata.version


def promote(registry, *numbers):
    for number in numbers:
        registry.set_stage(NAME, number, ModelStage.PRODUCTION, by="ops", reason=f"try {number}")


def told(registry):
    return [(entry.action, entry.version) for entry in registry.history(NAME)]


def test_rolling_back_brings_back_what_was_in_production_before(registry, versions):
    versions("1.0.0", "1.1.0")
    promote(registry, "1.0.0", "1.1.0")
    assert registry.rollback(NAME, by="ops", reason="losses").metadata.version == "1.0.0"
    stages = {info.metadata.version: info.metadata.stage for info in registry.list_versions(NAME)}
    assert stages == {"1.0.0": ModelStage.PRODUCTION, "1.1.0": ModelStage.ARCHIVED}


def test_rolling_back_again_goes_further_back_never_forth(registry, versions):
    versions("1.0.0", "1.1.0", "1.2.0")
    promote(registry, "1.0.0", "1.1.0", "1.2.0")
    registry.rollback(NAME)
    registry.rollback(NAME)
    assert production(registry) == "1.0.0"
    with pytest.raises(errors.NothingToRollBackError, match=r"before 1\.0\.0 is left"):
        registry.rollback(NAME)
    assert production(registry) == "1.0.0"


def test_a_promotion_after_a_rollback_is_rolled_back_to_where_it_began(registry, versions):
    versions("1.0.0", "1.1.0", "1.2.0")
    promote(registry, "1.0.0", "1.1.0")
    registry.rollback(NAME)
    promote(registry, "1.2.0")
    assert registry.rollback(NAME).metadata.version == "1.0.0"


def test_a_rollback_passes_over_versions_deleted_or_retired_since(registry, versions):
    versions("1.0.0", "1.1.0", "1.2.0", "1.3.0")
    promote(registry, "1.0.0", "1.1.0", "1.2.0", "1.3.0")
    registry.delete(NAME, "1.2.0")
    registry.retire(NAME, "1.1.0")
    assert registry.rollback(NAME).metadata.version == "1.0.0"


def test_without_an_earlier_production_version_there_is_nothing_to_roll_back(registry, versions):
    versions("1.0.0")
    with pytest.raises(errors.NothingToRollBackError, match="promote a version instead"):
        registry.rollback(NAME)


def test_the_production_version_can_be_neither_retired_nor_deleted(registry, versions):
    versions("1.0.0")
    promote(registry, "1.0.0")
    with pytest.raises(errors.StageHeldError, match=r"cannot retire .* it is in Production"):
        registry.retire(NAME, "1.0.0")
    with pytest.raises(errors.StageHeldError, match=r"cannot delete .* it is in Production"):
        registry.delete(NAME, "1.0.0")
    assert production(registry) == "1.0.0"


def test_a_retired_version_holds_no_stage(registry, versions):
    versions("1.0.0")
    registry.set_stage(NAME, "1.0.0", ModelStage.STAGING)
    registry.retire(NAME, "1.0.0")
    assert registry.get(NAME, "1.0.0").metadata.stage is ModelStage.ARCHIVED
    with pytest.raises(errors.EmptyStageError):
        registry.get(NAME, stage=ModelStage.STAGING)


def test_a_deleted_version_is_gone_and_its_number_stays_taken(registry, versions):
    versions("1.0.0", "1.1.0")
    registry.delete(NAME, "1.0.0", by="ops", reason="leak")
    assert registry.versions(NAME) == ["1.1.0"]
    folder = registry.layout.model(NAME)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "history.jsonl", "v1.1.0"]
    with pytest.raises(errors.DeletedVersionError, match="by ops"):
        versions("1.0.0")


def test_a_staged_version_is_not_deleted_under_the_feet_of_who_serves_it(registry, versions):
    versions("1.0.0")
    registry.set_stage(NAME, "1.0.0", ModelStage.STAGING)
    with pytest.raises(errors.StageHeldError, match="it is in Staging; set another stage first"):
        registry.delete(NAME, "1.0.0")


def test_metrics_are_added_to_and_replaced_by_name(registry, versions):
    versions("1.0.0")
    registry.update_metrics(NAME, "1.0.0", {"accuracy": 0.5, "sharpe_ratio": 1.0})
    registry.update_metrics(NAME, "1.0.0", {"accuracy": 0.6})
    metadata = registry.get(NAME, "1.0.0").metadata
    assert metadata.metrics == {"accuracy": 0.6, "sharpe_ratio": 1.0}
    assert metadata.updated_at > metadata.created_at


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "high", None])
def test_a_metric_that_is_no_finite_number_is_refused(registry, versions, value):
    """JSON would turn NaN into null, and the version could not be read any more."""
    versions("1.0.0")
    with pytest.raises(errors.InvalidMetadataError, match=r"metrics\.accuracy"):
        registry.update_metrics(NAME, "1.0.0", {"accuracy": value})
    assert registry.get(NAME, "1.0.0").metadata.metrics == {}


def test_the_history_says_what_when_who_why_from_and_to(registry, versions):
    versions("1.0.0", "1.1.0")
    promote(registry, "1.0.0")
    registry.set_stage(NAME, "1.1.0", ModelStage.STAGING)
    promote(registry, "1.1.0")
    *_, last = registry.history(NAME)
    assert (last.action, last.version, last.replaced) == (Action.PROMOTED, "1.1.0", "1.0.0")
    assert (last.from_stage, last.to_stage) == (ModelStage.STAGING, ModelStage.PRODUCTION)
    assert (last.by, last.reason) == ("ops", "try 1.1.0")
    assert told(registry) == [
        (Action.REGISTERED, "1.0.0"),
        (Action.REGISTERED, "1.1.0"),
        (Action.PROMOTED, "1.0.0"),
        (Action.STAGED, "1.1.0"),
        (Action.PROMOTED, "1.1.0"),
    ]


def test_every_kind_of_change_leaves_its_line(registry, versions):
    versions("1.0.0", "1.1.0")
    promote(registry, "1.0.0", "1.1.0")
    registry.rollback(NAME)
    registry.set_stage(NAME, "1.1.0", ModelStage.STAGING)
    registry.set_stage(NAME, "1.1.0", ModelStage.NONE)
    registry.update_metrics(NAME, "1.1.0", {"accuracy": 0.5})
    registry.add_artifacts(NAME, "1.1.0", {}, {}, None)
    registry.pin_artifact(NAME, "1.1.0", "model.pt")
    registry.retire(NAME, "1.1.0")
    registry.delete(NAME, "1.1.0")
    assert {entry.action for entry in registry.history(NAME)} == set(Action)


def test_what_changes_nothing_leaves_no_line(registry, versions):
    versions("1.0.0")
    promote(registry, "1.0.0")
    before = registry.history(NAME)
    promote(registry, "1.0.0")
    versions("1.0.0")
    assert registry.history(NAME) == before


def test_the_history_survives_the_last_version(registry, versions):
    versions("1.0.0")
    registry.delete(NAME, "1.0.0")
    assert told(registry) == [(Action.REGISTERED, "1.0.0"), (Action.DELETED, "1.0.0")]
    with pytest.raises(errors.UnknownModelError):
        registry.history("other")


def test_production_at_answers_for_every_moment(registry, versions):
    versions("1.0.0", "1.1.0")
    promote(registry, "1.0.0", "1.1.0")
    registry.rollback(NAME)
    first, second, third = (entry.time for entry in registry.history(NAME)[2:])
    instant = timedelta(microseconds=1)
    moments = [first - instant, first, second - instant, second, third, third + timedelta(days=9)]
    assert [registry.production_at(NAME, moment) for moment in moments] == [
        None,
        "1.0.0",
        "1.0.0",
        "1.1.0",
        "1.0.0",
        "1.0.0",
    ]
    with pytest.raises(errors.InvalidNameError, match="a time with a time zone"):
        registry.production_at(NAME, datetime(2026, 1, 1))


def test_the_history_stays_in_order_when_the_clock_goes_back(registry, versions):
    versions("1.0.0", "1.1.0")
    promote(registry, "1.0.0")
    registry._now.now = START
    promote(registry, "1.1.0")
    times = [entry.time for entry in registry.history(NAME)]
    assert times == sorted(set(times))


def test_two_versions_are_compared_metric_by_metric(registry, versions):
    versions("1.0.0", "1.1.0")
    registry.update_metrics(NAME, "1.0.0", {"sharpe": -2.0, "zero": 0, "old": 1, "same": 0})
    registry.update_metrics(NAME, "1.1.0", {"sharpe": -1.0, "zero": 1, "new": 1, "same": 0})
    comparison = registry.compare(NAME, "1.0.0", "1.1.0")
    assert comparison["metrics_comparison"] == {
        "sharpe": {"v1": -2.0, "v2": -1.0, "diff": 1.0, "diff_pct": 50.0},
        "zero": {"v1": 0, "v2": 1, "diff": 1, "diff_pct": None},
        "old": {"v1": 1, "v2": None, "diff": None, "diff_pct": None},
        "same": {"v1": 0, "v2": 0, "diff": 0, "diff_pct": 0.0},
        "new": {"v1": None, "v2": 1, "diff": None, "diff_pct": None},
    }
    assert comparison["size_comparison"]["diff_mb"] == pytest.approx(0)
    assert (comparison["model_name"], comparison["version2"]) == (NAME, "1.1.0")


def test_a_version_that_fails_its_check_gets_no_stage(registry, versions):
    versions("1.0.0", "1.1.0")
    promote(registry, "1.0.0")

    def refuse(metadata, read):
        assert read("model.pt") == f"weights of {metadata.version}".encode()
        raise errors.UnreadableArtifactError("model.pt", "a checkpoint", "it is text")

    registry._check = refuse
    before = registry.history(NAME)
    for stage in (ModelStage.PRODUCTION, ModelStage.STAGING):
        with pytest.raises(errors.UnreadableArtifactError, match="it is text"):
            registry.set_stage(NAME, "1.1.0", stage)
    assert (production(registry), registry.history(NAME)) == ("1.0.0", before)


def test_a_rollback_to_a_version_that_cannot_be_loaded_changes_nothing(registry, versions):
    versions("1.0.0", "1.1.0")
    promote(registry, "1.0.0", "1.1.0")
    registry.get(NAME, "1.0.0").artifact_path("model.pt").write_text("altered")
    registry._check = lambda _, read: read("model.pt")
    with pytest.raises(errors.CorruptArtifactError):
        registry.rollback(NAME)
    assert production(registry) == "1.1.0"
