"""Which artifact serves, and artifacts that join a published version."""

import json

import numpy as np
import pytest

from registry import ModelRegistry, errors
from registry.folder import inspection
from registry.folder.serving_artifacts import ServingWriter
from registry.predictors import choose_artifact, load_predictor
from registry.records import Action, HistoryEntry, ModelMetadata
from testkit.models import SHAPE, linear_onnx_file, metadata

FAST = "model_fast.onnx"
EVIDENCE = {"goal": "latency", "figures": [1.5]}


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "models")


@pytest.fixture
async def published(registry, tmp_path):
    path = linear_onnx_file(tmp_path, 1.0)
    return await registry.register_model("m", "1.0.0", path, "L", input_shape=SHAPE)


async def add(registry, folder, weight=2.0, serving=FAST, name=FAST):
    files = {name: linear_onnx_file(folder, weight)}
    return await registry.add_artifacts("m", "1.0.0", files, EVIDENCE, serving)


def logits(info):
    content = info.artifact_path(choose_artifact(info.metadata)).read_bytes()
    predictor = load_predictor(content, info.metadata, num_threads=1)
    return predictor(np.ones((1, *SHAPE), dtype=np.float32))["direction_logits"][0, 0]


async def test_what_joins_a_version_serves_and_leaves_the_rest_as_it_was(
    registry, published, tmp_path
):
    before = published.artifact_path("model.onnx").stat()
    info = await add(registry, tmp_path)
    assert info == await registry.get_model("m", "1.0.0")
    assert list(info.metadata.artifacts) == ["model.onnx", FAST]
    assert info.metadata.artifacts["model.onnx"] == published.metadata.artifacts["model.onnx"]
    assert info.artifact_path("model.onnx").stat() == before
    assert info.metadata.optimization == EVIDENCE
    assert (logits(published), logits(info)) == (1, 2)
    assert info.metadata.model_size_mb == pytest.approx(
        sum(info.artifact_path(each).stat().st_size for each in info.metadata.artifacts) / 1e6
    )
    last = (await registry.history("m"))[-1]
    assert (last.action, last.added, last.serves) == (Action.OPTIMIZED, (FAST,), FAST)
    assert await registry.verify() == []


async def test_another_artifact_can_be_pinned_and_the_default_again(registry, published, tmp_path):
    await add(registry, tmp_path)
    for artifact, expected in (("model.onnx", 1), (FAST, 2), (None, 1)):
        await registry.pin_artifact("m", "1.0.0", artifact, by="olga", reason="try")
        assert logits(await registry.get_model("m", "1.0.0")) == expected
        last = (await registry.history("m"))[-1]
        assert (last.action, last.serves, last.by) == (Action.PINNED, artifact, "olga")


async def test_pinning_what_serves_already_leaves_no_line(registry, published):
    await registry.pin_artifact("m", "1.0.0", "model.onnx")
    told = await registry.history("m")
    await registry.pin_artifact("m", "1.0.0", "model.onnx")
    assert await registry.history("m") == told


async def test_an_artifact_of_the_same_name_and_content_is_left_out(registry, published, tmp_path):
    first = await add(registry, tmp_path)
    second = await add(registry, tmp_path)
    assert second.metadata.artifacts == first.metadata.artifacts
    assert second.metadata.model_size_mb == first.metadata.model_size_mb


@pytest.mark.parametrize("name", ["model.onnx", FAST])
async def test_what_is_published_cannot_be_replaced(registry, published, tmp_path, name):
    await add(registry, tmp_path)
    with pytest.raises(errors.VersionExistsError, match="immutable"):
        await add(registry, tmp_path, weight=3.0, name=name, serving=name)
    assert await registry.verify() == []


async def test_what_does_not_run_is_not_put_to_serve(registry, published, tmp_path):
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
    assert sorted(each.name for each in info.path.iterdir()) == ["metadata.json", "model.onnx"]


async def test_a_pin_names_what_there_is(registry, published, tmp_path):
    with pytest.raises(errors.MissingArtifactError, match=r"one of .*: model\.onnx"):
        await registry.pin_artifact("m", "1.0.0", "model_int8.onnx")
    notes = tmp_path / "notes.txt"
    notes.write_text("notes")
    await registry.add_artifacts("m", "1.0.0", {"notes.txt": notes}, EVIDENCE)
    with pytest.raises(errors.InvalidNameError, match=r"model\.pt or a \*\.onnx"):
        await registry.pin_artifact("m", "1.0.0", "notes.txt")


async def test_a_damaged_artifact_cannot_be_pinned(registry, published, tmp_path):
    info = await add(registry, tmp_path, serving=None)
    info.artifact_path(FAST).write_bytes(b"changed")
    with pytest.raises(errors.CorruptArtifactError):
        await registry.pin_artifact("m", "1.0.0", FAST)


async def test_a_file_that_the_registry_does_not_know_is_not_replaced(
    registry, published, tmp_path
):
    stranger = published.path / FAST
    stranger.write_bytes(b"somebody's")
    with pytest.raises(errors.InvalidMetadataError, match="in the way"):
        await add(registry, tmp_path)
    assert stranger.read_bytes() == b"somebody's"


async def test_the_same_file_left_of_an_addition_that_was_cut_short_is_adopted(
    registry, published, tmp_path
):
    (published.path / FAST).write_bytes(linear_onnx_file(tmp_path, 2.0).read_bytes())
    info = await add(registry, tmp_path)
    assert logits(info) == 2
    assert await registry.verify() == []


async def test_registering_the_original_files_again_is_still_nothing_to_do(
    registry, published, tmp_path
):
    info = await add(registry, tmp_path)
    path = linear_onnx_file(tmp_path, 1.0)
    assert await registry.register_model("m", "1.0.0", path, "L", input_shape=SHAPE) == info


async def test_evidence_that_json_cannot_hold_is_refused(registry, published, tmp_path):
    files = {FAST: linear_onnx_file(tmp_path, 2.0)}
    with pytest.raises(errors.InvalidMetadataError, match="finite"):
        await registry.add_artifacts("m", "1.0.0", files, {"p95_ms": float("inf")}, FAST)
    assert await registry.verify() == []


class FullDisk(ServingWriter):
    """Has no room for metadata."""

    def _write_metadata(self, metadata):
        raise OSError(28, "No space left on device")


async def test_a_full_disk_leaves_the_version_as_it_was(tmp_path, published):
    """The metadata's own write fails after the files are in place."""
    writer = FullDisk(tmp_path / "models", check=lambda *_: None)
    files = {FAST: linear_onnx_file(tmp_path, 2.0)}
    with pytest.raises(errors.StorageError, match="No space left"):
        writer.add_artifacts("m", "1.0.0", files, EVIDENCE, FAST)
    assert inspection.verify(writer) == []
    assert writer.get("m", "1.0.0").metadata == published.metadata


def test_metadata_of_before_loads_and_serves_as_it_did():
    document = json.loads(metadata().model_dump_json())
    del document["serving_artifact"], document["optimization"]
    assert choose_artifact(ModelMetadata.model_validate(document)) == "model.onnx"
    line = {
        "id": "1",
        "time": "2026-01-02T00:00:00Z",
        "action": "promoted",
        "version": "1.0.0",
        "from_stage": "None",
        "to_stage": "Production",
        "by": "ops",
    }
    assert HistoryEntry.model_validate(line).added == ()


def test_a_serving_artifact_that_is_not_there_is_an_error_and_not_another_one():
    with pytest.raises(errors.MissingArtifactError, match=r"one of model\.onnx; pin another"):
        choose_artifact(metadata(serving_artifact="model_int8.onnx"))
