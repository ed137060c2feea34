"""Registration, metrics and deletion."""

import pytest

from registry import ModelStage, errors

NAME = "hybrid_cnn_lstm"


def test_deleted_number_cannot_be_reused(folder, register):
    """A deletion removes the files, and the version's number cannot be registered again."""
    register("1.0.0", "1.1.0")
    folder.versions.delete(NAME, "1.0.0", by="ops", reason="leak")
    assert folder.reader.files.versions(NAME) == ["1.1.0"]
    left = sorted(path.name for path in folder.layout.model(NAME).iterdir())
    assert left == [".lock", "history.jsonl", "v1.1.0"]
    with pytest.raises(errors.DeletedVersionError, match="by ops"):
        register("1.0.0")


def test_staging_version_is_not_deleted(folder, register):
    """A version in Staging cannot be deleted, since replicas may serve it."""
    register("1.0.0")
    folder.stages.set_stage(NAME, "1.0.0", ModelStage.STAGING)
    with pytest.raises(errors.StageHeldError, match="it is in Staging; set another stage first"):
        folder.versions.delete(NAME, "1.0.0")


def test_metrics_are_merged_by_name(folder, register):
    """New metrics are added, those of the same name replaced."""
    register("1.0.0")
    folder.versions.update_metrics(NAME, "1.0.0", {"accuracy": 0.5, "sharpe_ratio": 1.0})
    folder.versions.update_metrics(NAME, "1.0.0", {"accuracy": 0.6})
    metadata = folder.reader.get(NAME, "1.0.0").metadata
    assert metadata.metrics == {"accuracy": 0.6, "sharpe_ratio": 1.0}
    assert metadata.updated_at > metadata.created_at


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "high", None])
def test_metric_must_be_finite(folder, register, value):
    """JSON would turn NaN into null, and the version could no longer be read."""
    register("1.0.0")
    with pytest.raises(errors.InvalidMetadataError, match=r"metrics\.accuracy"):
        folder.versions.update_metrics(NAME, "1.0.0", {"accuracy": value})
    assert folder.reader.get(NAME, "1.0.0").metadata.metrics == {}


def test_times_come_from_the_clock(folder, register, promote, clock):
    """created_at is the time of registration, updated_at that of the last change."""
    register("1.0.0")
    registered = clock.now
    promote("1.0.0")
    metadata = folder.reader.get(NAME).metadata
    assert metadata.created_at == registered
    assert metadata.updated_at == clock.now > registered
