"""Artifacts added to a published version, and the choice of the serving artifact."""

import resource

import numpy as np
import pytest

from registry import ModelRegistry, errors
from registry.folder import inspection
from registry.folder.registry_folder import RegistryFolder
from registry.predictors import choose_artifact, load_predictor
from registry.records import Action
from testkit.models import SHAPE, linear_onnx_file

FAST = "model_fast.onnx"
EVIDENCE = {"goal": "latency", "figures": [1.5]}


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "models")


@pytest.fixture
async def published(registry, tmp_path):
    path = linear_onnx_file(tmp_path, 1.0)
    return await registry.register_model("m", "1.0.0", path, "L", input_shape=SHAPE)


@pytest.fixture
def limit_file_size():
    """Return a function that makes writes beyond a size fail, until the test ends."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size_bytes: resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def add(registry, folder, weight=2.0, serving=FAST, name=FAST):
    files = {name: linear_onnx_file(folder, weight)}
    return await registry.add_artifacts("m", "1.0.0", files, EVIDENCE, serving)


def logits(info):
    content = info.artifact_path(choose_artifact(info.metadata)).read_bytes()
    predictor = load_predictor(content, info.metadata, num_threads=1)
    return predictor(np.ones((1, *SHAPE), dtype=np.float32))["direction_logits"][0, 0]


async def test_added_artifact_serves(registry, published, tmp_path):
    """An added artifact serves, and everything that was already published is unchanged."""
    before = published.artifact_path("model.onnx").stat()
    info = await add(registry, tmp_path)
    assert info == await registry.get_model("m", "1.0.0")
    assert list(info.metadata.artifacts) == ["model.onnx", FAST]
    assert info.metadata.artifacts["model.onnx"] == published.metadata.artifacts["model.onnx"]
    assert info.artifact_path("model.onnx").stat() == before
    assert info.metadata.optimization == EVIDENCE
    assert (logits(published), logits(info)) == (1, 2)
    assert info.metadata.model_size_mb == pytest.approx(
        sum(info.artifact_path(name).stat().st_size for name in info.metadata.artifacts) / 1e6
    )
    last = (await registry.history("m"))[-1]
    assert (last.action, last.added, last.serves) == (Action.OPTIMIZED, (FAST,), FAST)
    assert await registry.verify() == []


async def test_pin_selects_any_artifact(registry, published, tmp_path):
    """Any runnable artifact can be pinned, and None returns to the default."""
    await add(registry, tmp_path)
    for artifact, expected in (("model.onnx", 1), (FAST, 2), (None, 1)):
        await registry.pin_artifact("m", "1.0.0", artifact, by="olga", reason="try")
        assert logits(await registry.get_model("m", "1.0.0")) == expected
        last = (await registry.history("m"))[-1]
        assert (last.action, last.serves, last.by) == (Action.PINNED, artifact, "olga")


async def test_repeated_pin_is_not_recorded(registry, published):
    """Pinning the artifact that serves already adds no history entry."""
    await registry.pin_artifact("m", "1.0.0", "model.onnx")
    before = await registry.history("m")
    await registry.pin_artifact("m", "1.0.0", "model.onnx")
    assert await registry.history("m") == before


async def test_identical_artifact_is_skipped(registry, published, tmp_path):
    """Adding an artifact again with the same content changes neither artifacts nor size."""
    first = await add(registry, tmp_path)
    second = await add(registry, tmp_path)
    assert second.metadata.artifacts == first.metadata.artifacts
    assert second.metadata.model_size_mb == first.metadata.model_size_mb


@pytest.mark.parametrize("name", ["model.onnx", FAST])
async def test_published_artifact_is_immutable(registry, published, tmp_path, name):
    """Neither an original nor an added artifact can be replaced."""
    await add(registry, tmp_path)
    with pytest.raises(errors.VersionExistsError, match="immutable"):
        await add(registry, tmp_path, weight=3.0, name=name, serving=name)
    assert await registry.verify() == []


async def test_unusable_artifact_is_rejected(registry, published, tmp_path):
    """An artifact that does not run or gives NaN is not added and leaves no file."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    for change in (
        registry.add_artifacts("m", "1.0.0", {FAST: broken}, EVIDENCE, FAST),
        add(registry, tmp_path, weight=float("nan")),
    ):
        with pytest.raises(errors.ArtifactError):
            await change
    info = await registry.get_model("m", "1.0.0")
    assert info.metadata == published.metadata
    assert sorted(path.name for path in info.path.iterdir()) == ["metadata.json", "model.onnx"]


async def test_pin_requires_runnable_artifact(registry, published, tmp_path):
    """A pinned artifact must exist and be runnable."""
    with pytest.raises(errors.MissingArtifactError, match=r"one of .*: model\.onnx"):
        await registry.pin_artifact("m", "1.0.0", "model_int8.onnx")
    notes = tmp_path / "notes.txt"
    notes.write_text("notes")
    await registry.add_artifacts("m", "1.0.0", {"notes.txt": notes}, EVIDENCE)
    with pytest.raises(errors.InvalidNameError, match=r"model\.pt or a \*\.onnx"):
        await registry.pin_artifact("m", "1.0.0", "notes.txt")


async def test_damaged_artifact_cannot_be_pinned(registry, published, tmp_path):
    """An artifact whose content was modified cannot be pinned."""
    info = await add(registry, tmp_path, serving=None)
    info.artifact_path(FAST).write_bytes(b"changed")
    with pytest.raises(errors.CorruptArtifactError):
        await registry.pin_artifact("m", "1.0.0", FAST)


async def test_unknown_file_is_not_replaced(registry, published, tmp_path):
    """An unknown file in the place of a new artifact is kept, and the addition fails."""
    unknown = published.path / FAST
    unknown.write_bytes(b"not the registry's")
    with pytest.raises(errors.InvalidMetadataError, match="an unknown file is at"):
        await add(registry, tmp_path)
    assert unknown.read_bytes() == b"not the registry's"


async def test_file_of_interrupted_addition_is_adopted(registry, published, tmp_path):
    """A file of the same content, left by an interrupted addition, becomes the artifact."""
    (published.path / FAST).write_bytes(linear_onnx_file(tmp_path, 2.0).read_bytes())
    info = await add(registry, tmp_path)
    assert logits(info) == 2
    assert await registry.verify() == []


async def test_original_files_stay_identical(registry, published, tmp_path):
    """Registering the original files again is a no-op even after an addition."""
    info = await add(registry, tmp_path)
    path = linear_onnx_file(tmp_path, 1.0)
    assert await registry.register_model("m", "1.0.0", path, "L", input_shape=SHAPE) == info


async def test_evidence_must_be_finite(registry, published, tmp_path):
    """Evidence that JSON cannot hold is rejected without a trace."""
    files = {FAST: linear_onnx_file(tmp_path, 2.0)}
    with pytest.raises(errors.InvalidMetadataError, match="finite"):
        await registry.add_artifacts("m", "1.0.0", files, {"p95_ms": float("inf")}, FAST)
    assert await registry.verify() == []


async def test_failed_metadata_write_changes_nothing(tmp_path, published, limit_file_size):
    """If the metadata cannot be written after the files are in place, the files are removed."""
    folder = RegistryFolder(tmp_path / "models", check=lambda *_: None)
    files = {FAST: linear_onnx_file(tmp_path, 2.0)}
    evidence = {"log": "x" * 100_000}
    limit_file_size(50_000)
    with pytest.raises(errors.StorageError, match="File too large"):
        folder.artifacts.add("m", "1.0.0", files, evidence, FAST)
    assert inspection.verify(folder) == []
    assert folder.reader.get("m", "1.0.0").metadata == published.metadata
