"""The registry over a real folder."""

import json

import pytest

from registry import ModelRegistry, ModelStage, errors, get_model_registry

NAME = "hybrid_cnn_lstm"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def registry(root):
    """Return a registry that loads nothing before a stage change, since the files are no models."""
    return ModelRegistry(root, check=lambda *_: None)


@pytest.fixture
def model_file(tmp_path):
    def write(content: bytes = b"weights", name: str = "model.pt"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


async def test_registered_version_is_found(registry, model_file):
    """A registered version is found with its metadata and artifacts."""
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


async def test_folder_layout(registry, root, model_file):
    """The folder has the documented links, version folders and metadata."""
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


async def test_default_is_production_then_latest(registry, model_file):
    """Without a version, get_model returns production, or the latest by precedence."""
    for version in ("1.9.0", "1.10.0", "1.10.0-rc.1"):
        await registry.register_model(NAME, version, model_file(), "Net")
    assert (await registry.get_model(NAME)).metadata.version == "1.10.0"
    await registry.promote_to_production(NAME, "1.9.0")
    assert (await registry.get_model(NAME)).metadata.version == "1.9.0"


async def test_promotion_archives_previous_version(registry, model_file):
    """A promotion from Staging archives the previous version and empties Staging."""
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


async def test_staging_holds_one_version(registry, model_file):
    """A new staging version returns the previous one to None."""
    for version in ("1.0.0", "1.1.0"):
        await registry.register_model(NAME, version, model_file(), "Net")
        await registry.set_model_stage(NAME, version, ModelStage.STAGING)
    assert (await registry.get_model(NAME, "1.0.0")).metadata.stage is ModelStage.NONE
    assert (await registry.get_staging_model(NAME)).metadata.version == "1.1.0"


async def test_production_cannot_be_left_empty(registry, model_file):
    """The production version cannot move to another stage."""
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    await registry.promote_to_production(NAME, "1.0.0")
    for stage in (ModelStage.STAGING, ModelStage.ARCHIVED, ModelStage.NONE):
        with pytest.raises(errors.StageHeldError, match="promote another version first"):
            await registry.set_model_stage(NAME, "1.0.0", stage)
    assert (await registry.get_production_model(NAME)).metadata.version == "1.0.0"


async def test_published_version_is_immutable(registry, model_file):
    """Registering different content fails, and the published content is kept."""
    await registry.register_model(NAME, "1.0.0", model_file(b"one"), "Net")
    with pytest.raises(errors.VersionExistsError, match=r"published model\.pt sha256 7692c3ad"):
        await registry.register_model(NAME, "1.0.0", model_file(b"two"), "Net")
    assert await registry.read_artifact(NAME, "1.0.0", "model.pt") == b"one"


async def test_identical_registration_is_no_op(registry, model_file, caplog):
    """Registering identical content changes nothing; ignored fields are logged."""
    first = await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    assert await registry.register_model(NAME, "1.0.0", model_file(), "Net") == first
    assert "is already registered with identical content: nothing to do" in caplog.text
    again = {"metrics": {"accuracy": 0.9}, "tags": ["new"]}
    assert await registry.register_model(NAME, "1.0.0", model_file(), "Net", **again) == first
    assert "its metrics, tags stay unchanged, see update_metrics" in caplog.text
    with pytest.raises(errors.VersionExistsError, match="model_type=Net"):
        await registry.register_model(NAME, "1.0.0", model_file(), "Other")


async def test_damaged_version_is_not_identical(registry, model_file):
    """Registering the content of a damaged version reports the damage."""
    info = await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    info.artifact_path("model.pt").write_bytes(b"junk")
    with pytest.raises(errors.CorruptArtifactError):
        await registry.register_model(NAME, "1.0.0", model_file(), "Net")


async def test_unknown_names_list_known_ones(registry, model_file):
    """The errors of unknown models, versions and artifacts list the known ones."""
    with pytest.raises(errors.UnknownModelError, match="registered models: none"):
        await registry.get_model(NAME)
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    with pytest.raises(errors.UnknownModelError, match=f"registered models: {NAME}"):
        await registry.promote_to_production("other", "1.0.0")
    with pytest.raises(errors.UnknownVersionError, match=r"its versions: 1\.0\.0"):
        await registry.promote_to_production(NAME, "2.0.0")
    with pytest.raises(errors.MissingArtifactError, match=r"artifacts: model\.pt"):
        await registry.read_artifact(NAME, "1.0.0", "model.onnx")


async def test_modified_artifact_is_not_returned(registry, model_file):
    """A modified or missing artifact raises an error."""
    info = await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    info.artifact_path("model.pt").write_bytes(b"altered")
    with pytest.raises(errors.CorruptArtifactError, match="expected sha256"):
        await registry.read_artifact(NAME, "1.0.0", "model.pt")
    info.artifact_path("model.pt").unlink()
    with pytest.raises(errors.MissingArtifactError):
        await registry.read_artifact(NAME, "1.0.0", "model.pt")


async def test_rejected_registration_leaves_no_trace(registry, root, model_file, tmp_path):
    """A rejected registration does not even create the folder."""
    rejected = [
        ({"model_path": tmp_path / "absent.pt"}, errors.MissingArtifactError),
        ({"model_path": model_file(name="model.bin")}, errors.InvalidNameError),
        ({"name": "../outside"}, errors.InvalidNameError),
        ({"version": "1.0"}, errors.InvalidNameError),
        ({"metrics": {"accuracy": "high"}}, errors.InvalidMetadataError),
        ({"artifacts": {"../evil": model_file()}}, errors.InvalidNameError),
    ]
    for change, error in rejected:
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
async def test_invalid_metadata(registry, model_file, content, problem):
    """Invalid metadata raises an error that names the problem."""
    info = await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    (info.path / "metadata.json").write_bytes(content)
    with pytest.raises(errors.InvalidMetadataError, match=problem):
        await registry.get_model(NAME, "1.0.0")


async def test_invalid_version_does_not_hide_others(registry, root, model_file, caplog):
    """A version with invalid metadata is logged and left out of the list."""
    for version in ("1.0.0", "1.1.0"):
        await registry.register_model(NAME, version, model_file(), "Net")
    await registry.promote_to_production(NAME, "1.1.0")
    (root / NAME / "v1.1.0" / "metadata.json").write_text("{")
    assert [info.metadata.version for info in await registry.list_models()] == ["1.0.0"]
    assert "left out of the list" in caplog.text
    await registry.promote_to_production(NAME, "1.0.0")
    assert (await registry.get_production_model(NAME)).metadata.version == "1.0.0"


async def test_folder_in_place_of_stage_link(registry, root, model_file):
    """A folder in the place of a stage link, as left by a copy, does not hide versions."""
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    (root / NAME / "production").mkdir()
    assert (await registry.get_model(NAME, "1.0.0")).metadata.stage is ModelStage.NONE
    assert len(await registry.list_models(NAME)) == 1
    with pytest.raises(errors.InvalidMetadataError, match="expected a link to a version's folder"):
        await registry.get_production_model(NAME)


async def test_further_artifact_cannot_replace_model(registry, model_file):
    """A further artifact cannot have the name of the model file."""
    other = model_file(b"other", "other.pt")
    with pytest.raises(errors.InvalidNameError, match=r"a name other than model\.pt"):
        await registry.register_model(
            NAME, "1.0.0", model_file(), "Net", artifacts={"model.pt": other}
        )


async def test_stage_names(registry, model_file):
    """A stage is given as a ModelStage or its wire name; the error lists the names."""
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    with pytest.raises(errors.InvalidNameError, match="expected one of None, Staging, Production"):
        await registry.set_model_stage(NAME, "1.0.0", "production")
    assert await registry.set_model_stage(NAME, "1.0.0", "Staging")


async def test_renamed_version_folder(registry, model_file):
    """A version folder under another number is an error."""
    info = await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    info.path.rename(info.path.with_name("v2.0.0"))
    with pytest.raises(errors.InvalidMetadataError, match=r"expected .*:2\.0\.0, found .*:1\.0\.0"):
        await registry.get_model(NAME, "2.0.0")


async def test_stage_link_out_of_model(registry, root, model_file):
    """A stage link that leads out of the model is an error."""
    await registry.register_model(NAME, "1.0.0", model_file(), "Net")
    (root / NAME / "production").symlink_to("../../elsewhere")
    with pytest.raises(errors.InvalidMetadataError, match="the link leads to"):
        await registry.get_production_model(NAME)


async def test_stage_link_decides(registry, root, model_file):
    """The stage links take precedence over the stages in the metadata."""
    for version in ("1.0.0", "1.1.0"):
        await registry.register_model(NAME, version, model_file(), "Net")
    await registry.promote_to_production(NAME, "1.0.0")
    (root / NAME / "production").unlink()
    (root / NAME / "production").symlink_to("v1.1.0")
    stages = {info.metadata.version: info.metadata.stage for info in await registry.list_models()}
    assert stages == {"1.0.0": ModelStage.ARCHIVED, "1.1.0": ModelStage.PRODUCTION}


def test_one_object_per_folder(root, tmp_path):
    """get_model_registry returns the same object for the same folder."""
    assert get_model_registry(root) is get_model_registry(root)
    assert get_model_registry(root) is not get_model_registry(tmp_path)
