"""Promotion, staging, retirement and rollback."""

import pytest

from registry import ModelStage, errors

NAME = "hybrid_cnn_lstm"


def production(folder):
    return folder.reader.get(NAME, stage=ModelStage.PRODUCTION).metadata.version


def test_rollback_restores_previous_production(folder, register, promote):
    """The previous version returns to Production and the current one is archived."""
    register("1.0.0", "1.1.0")
    promote("1.0.0", "1.1.0")
    restored = folder.stages.rollback(NAME, by="ops", reason="losses")
    assert restored.metadata.version == "1.0.0"
    infos = folder.reader.list_versions(NAME)
    stages = {info.metadata.version: info.metadata.stage for info in infos}
    assert stages == {"1.0.0": ModelStage.PRODUCTION, "1.1.0": ModelStage.ARCHIVED}


def test_repeated_rollback_goes_further_back(folder, register, promote):
    """Each rollback goes one version further back, never forward, until none is left."""
    register("1.0.0", "1.1.0", "1.2.0")
    promote("1.0.0", "1.1.0", "1.2.0")
    folder.stages.rollback(NAME)
    folder.stages.rollback(NAME)
    assert production(folder) == "1.0.0"
    with pytest.raises(errors.NothingToRollBackError, match=r"before 1\.0\.0 is left"):
        folder.stages.rollback(NAME)
    assert production(folder) == "1.0.0"


def test_rollback_of_promotion_after_rollback(folder, register, promote):
    """A promotion after a rollback is rolled back to the version it replaced."""
    register("1.0.0", "1.1.0", "1.2.0")
    promote("1.0.0", "1.1.0")
    folder.stages.rollback(NAME)
    promote("1.2.0")
    assert folder.stages.rollback(NAME).metadata.version == "1.0.0"


def test_rollback_skips_deleted_and_retired(folder, register, promote):
    """Versions deleted or retired since their promotion are skipped."""
    register("1.0.0", "1.1.0", "1.2.0", "1.3.0")
    promote("1.0.0", "1.1.0", "1.2.0", "1.3.0")
    folder.versions.delete(NAME, "1.2.0")
    folder.stages.retire(NAME, "1.1.0")
    assert folder.stages.rollback(NAME).metadata.version == "1.0.0"


def test_rollback_without_earlier_production(folder, register):
    """Without an earlier production version the error names the remedy."""
    register("1.0.0")
    with pytest.raises(errors.NothingToRollBackError, match="promote a version instead"):
        folder.stages.rollback(NAME)


def test_rollback_to_unloadable_version(folder, register, promote, check):
    """A rollback to a version that cannot be loaded fails and changes nothing."""
    register("1.0.0", "1.1.0")
    promote("1.0.0", "1.1.0")
    folder.reader.get(NAME, "1.0.0").artifact_path("model.pt").write_text("altered")
    check.run = lambda _, read: read("model.pt")
    with pytest.raises(errors.CorruptArtifactError):
        folder.stages.rollback(NAME)
    assert production(folder) == "1.1.0"


def test_production_version_is_kept(folder, register, promote):
    """The production version can be neither retired nor deleted."""
    register("1.0.0")
    promote("1.0.0")
    with pytest.raises(errors.StageHeldError, match=r"cannot retire .* it is in Production"):
        folder.stages.retire(NAME, "1.0.0")
    with pytest.raises(errors.StageHeldError, match=r"cannot delete .* it is in Production"):
        folder.versions.delete(NAME, "1.0.0")
    assert production(folder) == "1.0.0"


def test_retired_version_is_in_no_stage(folder, register):
    """A retired version is archived and leaves Staging."""
    register("1.0.0")
    folder.stages.set_stage(NAME, "1.0.0", ModelStage.STAGING)
    folder.stages.retire(NAME, "1.0.0")
    assert folder.reader.get(NAME, "1.0.0").metadata.stage is ModelStage.ARCHIVED
    with pytest.raises(errors.EmptyStageError):
        folder.reader.get(NAME, stage=ModelStage.STAGING)


def test_failed_check_prevents_stage(folder, register, promote, check):
    """A version that fails its check enters no stage; the check receives the artifacts."""
    register("1.0.0", "1.1.0")
    promote("1.0.0")

    def reject(metadata, read):
        assert read("model.pt") == f"weights of {metadata.version}".encode()
        raise errors.UnreadableArtifactError("model.pt", "a checkpoint", "it is text")

    check.run = reject
    before = folder.reader.history(NAME)
    for stage in (ModelStage.PRODUCTION, ModelStage.STAGING):
        with pytest.raises(errors.UnreadableArtifactError, match="it is text"):
            folder.stages.set_stage(NAME, "1.1.0", stage)
    assert (production(folder), folder.reader.history(NAME)) == ("1.0.0", before)
