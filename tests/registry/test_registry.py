"""The registry's API over a real folder."""

import json
from datetime import UTC, datetime

import pytest

from registry import ModelRegistry, ModelStage, errors, get_model_registry
from registry.folder.writer import RegistryWriter

NAME = "hybrid_cnn_lstm"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def registry(root):
    """Stages without loading: the files here are no models. test_promotion has real ones."""
    return ModelRegistry(root, check=lambda *_: None)


@pytest.fixture
def model_file(tmp_path):
    def write(content: bytes = b"weights", name: str = "model.pt"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


async def test_a_registered_version_is_found_with_all_that_was_said_of_it(registry, model_file):
    onnx = model_file(b"graph", "export.onnx")
    info = await registry.register_model(
        name=NAME,
        version="1.0.0",
        model_path=model_file(),
        model_type="HybridCNNLSTM",
        description="first",
        metrics={"accuracy": 0.85},
        training_params={"epochs": 3},
        dataset_info={"dead_band": 0.001},
        tags=["a", "b"],
        artifacts={"model.onnx": onnx},
    )
    found = await registry.get_model(NAME, "1.0.0")
    assert found == info
    assert found.metadata.stage is ModelStage.NONE
    assert found.metadata.metrics == {"accuracy": 0.85}
    assert found.metadata.tags == ("a", "b")
    assert found.metadata.model_size_mb == pytest.approx(12e-6)
    assert sorted(found.metadata.artifacts) == ["model.onnx", "model.pt"]
    assert found.artifact_path("model.pt").read_bytes() == b"weights"
    assert await registry.read_artifact(NAME, "1.0.0", "model.onnx") == b"graph"


async def test_the_folder_is_laid_out_as_documented(registry, root, model_file):
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    await registry.register_model(NAME, "1.1.0", model_file(), "Net")
    await registry.promote_to_production(NAME, "1.0.0")
    await registry.set_model_stage(NAME, "1.1.0", ModelStage.STAGING)
    folder = root / NAME
    assert (folder / "production").readlink().name == "v1.0.0"
    assert (folder / "staging").readlink().name == "v1.1.0"
    assert sorted(path.name for path in (folder / "v1.0.0").iterdir()) == [
        "metadata.json",
        "model.pt",
    ]
    document = json.loads((folder / "v1.0.0" / "metadata.json").read_text())
    assert document["stage"] == "Production"
    assert document["version"] == "1.0.0"


async def test_without_a_version_production_is_meant_and_else_the_latest(registry, model_file):
    for version in ("1.9.0", "1.10.0", "1.10.0-rc.1"):
        await registry.register_model(NAME, version, model_file(), "Net")
    assert (await registry.get_model(NAME)).metadata.version == "1.10.0"
    await registry.promote_to_production(NAME, "1.9.0")
    assert (await registry.get_model(NAME)).metadata.version == "1.9.0"


async def test_promotion_archives_the_former_production_version(registry, model_file):
    for version in ("1.0.0", "1.1.0"):
        await registry.register_model(NAME, version, model_file(), "Net")
    await registry.promote_to_production(NAME, "1.0.0")
    await registry.set_model_stage(NAME, "1.1.0", ModelStage.STAGING)
    assert await registry.promote_to_production(NAME, "1.1.0")
    stages = {info.metadata.version: info.metadata.stage for info in await registry.list_models()}
    assert stages == {"1.0.0": ModelStage.ARCHIVED, "1.1.0": ModelStage.PRODUCTION}
    assert (await registry.get_production_model(NAME)).metadata.version == "1.1.0"
    assert await registry.get_staging_model(NAME) is None
    with pytest.raises(errors.EmptyStageError, match="no Staging version"):
        await registry.get_model(NAME, stage=ModelStage.STAGING)


async def test_a_new_staging_version_replaces_the_former_one(registry, model_file):
    for version in ("1.0.0", "1.1.0"):
        await registry.register_model(NAME, version, model_file(), "Net")
        await registry.set_model_stage(NAME, version, ModelStage.STAGING)
    assert (await registry.get_model(NAME, "1.0.0")).metadata.stage is ModelStage.NONE
    assert (await registry.get_staging_model(NAME)).metadata.version == "1.1.0"


async def test_production_cannot_be_left_empty(registry, model_file):
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    await registry.promote_to_production(NAME, "1.0.0")
    for stage in (ModelStage.STAGING, ModelStage.ARCHIVED, ModelStage.NONE):
        with pytest.raises(errors.StageHeldError, match="promote another version first"):
            await registry.set_model_stage(NAME, "1.0.0", stage)
    assert (await registry.get_production_model(NAME)).metadata.version == "1.0.0"


async def test_a_published_version_is_immutable(registry, model_file):
    await registry.register_model(NAME, "1.0.0", model_file(b"one"), "Net")
    with pytest.raises(errors.VersionExistsError, match=r"published model\.pt sha256 7692c3ad"):
        await registry.register_model(NAME, "1.0.0", model_file(b"two"), "Net")
    assert await registry.read_artifact(NAME, "1.0.0", "model.pt") == b"one"


async def test_identical_content_is_accepted_again_and_changes_nothing(
    registry, model_file, caplog
):
    first = await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    assert await registry.register_model(NAME, "1.0.0", model_file(), "Net") == first
    assert "registered already with identical content: nothing to do" in caplog.text
    again = {"metrics": {"accuracy": 0.9}, "tags": ["new"]}
    assert await registry.register_model(NAME, "1.0.0", model_file(), "Net", **again) == first
    assert "its metrics, tags stay as they are, see update_metrics" in caplog.text
    with pytest.raises(errors.VersionExistsError, match="model_type=Net"):
        await registry.register_model(NAME, "1.0.0", model_file(), "Other")


async def test_a_damaged_version_is_not_called_identical(registry, model_file):
    info = await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    info.artifact_path("model.pt").write_bytes(b"junk")
    with pytest.raises(errors.CorruptArtifactError):
        await registry.register_model(NAME, "1.0.0", model_file(), "Net")


async def test_what_is_not_there_is_named_together_with_what_is(registry, model_file):
    with pytest.raises(errors.UnknownModelError, match="registered models: none"):
        await registry.get_model(NAME)
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    with pytest.raises(errors.UnknownModelError, match=f"registered models: {NAME}"):
        await registry.promote_to_production("other", "1.0.0")
    with pytest.raises(errors.UnknownVersionError, match=r"its versions: 1\.0\.0"):
        await registry.promote_to_production(NAME, "2.0.0")
    with pytest.raises(errors.MissingArtifactError, match=r"artifacts: model\.pt"):
        await registry.read_artifact(NAME, "1.0.0", "model.onnx")


async def test_an_altered_artifact_is_never_handed_out(registry, model_file):
    info = await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    info.artifact_path("model.pt").write_bytes(b"altered")
    with pytest.raises(errors.CorruptArtifactError, match="expected sha256"):
        await registry.read_artifact(NAME, "1.0.0", "model.pt")
    info.artifact_path("model.pt").unlink()
    with pytest.raises(errors.MissingArtifactError):
        await registry.read_artifact(NAME, "1.0.0", "model.pt")


async def test_a_refused_registration_leaves_no_trace(registry, root, model_file, tmp_path):
    refused = [
        ({"model_path": tmp_path / "absent.pt"}, errors.MissingArtifactError),
        ({"model_path": model_file(name="model.bin")}, errors.InvalidNameError),
        ({"name": "../outside"}, errors.InvalidNameError),
        ({"version": "1.0"}, errors.InvalidNameError),
        ({"metrics": {"accuracy": "high"}}, errors.InvalidMetadataError),
        ({"artifacts": {"../evil": model_file()}}, errors.InvalidNameError),
    ]
    for change, error in refused:
        arguments = {"name": NAME, "version": "1.0.0", "model_path": model_file(), **change}
        with pytest.raises(error):
            await registry.register_model(model_type="Net", **arguments)
    assert not root.exists()
    assert await registry.list_models() == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "JSON"),
        (b"[]", "object"),
        (b'{"name": "x"}', "version: Field required"),
    ],
)
async def test_broken_metadata_is_named_not_guessed(registry, model_file, content, problem):
    info = await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    (info.path / "metadata.json").write_bytes(content)
    with pytest.raises(errors.InvalidMetadataError, match=problem):
        await registry.get_model(NAME, "1.0.0")


async def test_one_broken_version_does_not_hide_the_others(registry, root, model_file, caplog):
    for version in ("1.0.0", "1.1.0"):
        await registry.register_model(NAME, version, model_file(), "Net")
    await registry.promote_to_production(NAME, "1.1.0")
    (root / NAME / "v1.1.0" / "metadata.json").write_text("{")
    assert [info.metadata.version for info in await registry.list_models()] == ["1.0.0"]
    assert "left out of the list" in caplog.text
    await registry.promote_to_production(NAME, "1.0.0")
    assert (await registry.get_production_model(NAME)).metadata.version == "1.0.0"


async def test_a_folder_in_the_place_of_a_link_does_not_hide_the_versions(
    registry, root, model_file
):
    """What a copy that follows links leaves behind."""
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    (root / NAME / "production").mkdir()
    assert (await registry.get_model(NAME, "1.0.0")).metadata.stage is ModelStage.NONE
    assert len(await registry.list_models(NAME)) == 1
    with pytest.raises(errors.InvalidMetadataError, match="expected a link to a version's folder"):
        await registry.get_production_model(NAME)


async def test_the_checkpoint_cannot_be_replaced_by_a_further_artifact(registry, model_file):
    other = model_file(b"other", "other.pt")
    with pytest.raises(errors.InvalidNameError, match=r"a name other than model\.pt"):
        await registry.register_model(
            NAME, "1.0.0", model_file(), "Net", artifacts={"model.pt": other}
        )


async def test_an_unknown_stage_is_named(registry, model_file):
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    with pytest.raises(errors.InvalidNameError, match="expected one of None, Staging, Production"):
        await registry.set_model_stage(NAME, "1.0.0", "production")
    assert await registry.set_model_stage(NAME, "1.0.0", "Staging")


async def test_a_folder_copied_under_another_version_is_noticed(registry, model_file):
    info = await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    info.path.rename(info.path.with_name("v2.0.0"))
    with pytest.raises(errors.InvalidMetadataError, match=r"expected .*:2\.0\.0, found .*:1\.0\.0"):
        await registry.get_model(NAME, "2.0.0")


async def test_a_stage_link_that_leaves_the_model_is_refused(registry, root, model_file):
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    (root / NAME / "production").symlink_to("../../elsewhere")
    with pytest.raises(errors.InvalidMetadataError, match="the link leads to"):
        await registry.get_production_model(NAME)


async def test_the_link_decides_when_a_writer_died_before_the_metadata(registry, root, model_file):
    """The link of a promotion is moved first; readers correct what the metadata still says."""
    for version in ("1.0.0", "1.1.0"):
        await registry.register_model(NAME, version, model_file(), "Net")
    await registry.promote_to_production(NAME, "1.0.0")
    (root / NAME / "production").unlink()
    (root / NAME / "production").symlink_to("v1.1.0")
    stages = {info.metadata.version: info.metadata.stage for info in await registry.list_models()}
    assert stages == {"1.0.0": ModelStage.ARCHIVED, "1.1.0": ModelStage.PRODUCTION}


def test_times_come_from_the_clock_it_was_given(root, model_file):
    today = datetime(2026, 1, 1, tzinfo=UTC)
    folder = RegistryWriter(root, check=lambda *_: None, now=lambda: today)
    folder.register(NAME, "1.0.0", {"model.pt": model_file()}, {"model_type": "Net"})
    today = datetime(2026, 1, 2, tzinfo=UTC)
    folder.set_stage(NAME, "1.0.0", ModelStage.PRODUCTION)
    metadata = folder.get(NAME).metadata
    assert (metadata.created_at.day, metadata.updated_at.day) == (1, 2)


def test_one_folder_has_one_registry_object(root, tmp_path):
    assert get_model_registry(root) is get_model_registry(root)
    assert get_model_registry(root) is not get_model_registry(tmp_path)
