"""A registry folder written by release 0.1.0 is complete and can be changed."""

import hashlib
from datetime import datetime

import pytest

from registry import ModelRegistry, ModelStage
from registry.errors import DeletedVersionError
from tests.upgrade.present_form import present_metadata

MODEL = "hybrid_cnn_lstm"


@pytest.fixture
def registry(registry_folder):
    return ModelRegistry(registry_folder)


async def test_versions(registry, old):
    """Every version keeps its metadata: stage, metrics, digests, serving artifact, evidence."""
    found = {
        f"{info.metadata.name}:{info.metadata.version}": info.metadata.model_dump(mode="json")
        for info in await registry.list_models()
    }
    expected = {name: present_metadata(version) for name, version in old["versions"].items()}
    assert found == expected
    assert len(found) == 5


async def test_stages(registry):
    """Each stage is held by the same version."""
    production = await registry.get_production_model(MODEL)
    staging = await registry.get_staging_model(MODEL)
    assert (production.metadata.version, staging.metadata.version) == ("1.0.0", "1.10.0")
    assert (await registry.get_model_metadata(MODEL, "1.9.0")).stage is ModelStage.ARCHIVED


async def test_artifacts(registry, old):
    """The content of every artifact, also of those added later, matches its digest."""
    for name, metadata in old["versions"].items():
        model, version = name.split(":")
        for artifact, digest in metadata["artifacts"].items():
            content = await registry.read_artifact(model, version, artifact)
            assert hashlib.sha256(content).hexdigest() == digest


async def test_serving_artifacts(registry):
    """Versions keep their pinned artifacts, which pass the check of a promotion."""
    assert (await registry.get_model_metadata(MODEL, "1.0.0")).serving_artifact == "model.fp16.onnx"
    optimized = await registry.get_model_metadata(MODEL, "1.10.0")
    assert optimized.serving_artifact == "model.int8.onnx"
    await registry.try_out(MODEL, "1.10.0")


async def test_history(registry, old):
    """Every line of the history keeps its action, stages, time, author and reason."""
    for model, entries in old["history"].items():
        found = [entry.model_dump(mode="json") for entry in await registry.history(model)]
        assert found == entries
    assert len(old["history"][MODEL]) == 18


async def test_derived_values(registry, old):
    """Values derived from history and metadata equal those that the old code computed."""
    time, version = old["production_at"]
    assert await registry.production_at(MODEL, datetime.fromisoformat(time)) == version
    assert await registry.compare_models(MODEL, "1.0.0", "1.10.0") == old["comparison"]


async def test_verification(registry, old):
    """Verification and repair report no finding."""
    assert [finding.path for finding in await registry.verify()] == old["findings"] == []
    assert await registry.repair() == []


async def test_changes(registry, old):
    """The folder accepts a promotion and a rollback, and rejects a deleted version."""
    await registry.promote_to_production(MODEL, "1.10.0")
    assert (await registry.rollback(MODEL)).metadata.version == "1.0.0"
    assert len(await registry.history(MODEL)) == len(old["history"][MODEL]) + 2
    file = (await registry.get_model(MODEL, "1.0.0")).artifact_path("model.onnx")
    with pytest.raises(DeletedVersionError):
        await registry.register_model(MODEL, "2.0.0-rc.1", file, "Linear", input_shape=(3, 2))
