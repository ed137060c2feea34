"""Stage links that are missing, or replaced by what copying tools leave in their place."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from registry import ModelStage, errors
from registry.folder import inspection
from tests.registry.folder.conftest import NAME

HELD = {ModelStage.PRODUCTION: "1.0.0", ModelStage.STAGING: "1.1.0"}
LINKS = ("production", "staging")


@pytest.fixture
def model_folder(folder, register, promote):
    register("1.0.0", "1.1.0", "1.2.0")
    promote("1.0.0")
    folder.stages.set_stage(NAME, "1.1.0", ModelStage.STAGING)
    return folder.layout.model(NAME)


def missing(link):
    link.unlink()


def text(link):
    target = str(link.readlink())
    link.unlink()
    link.write_text(target)


def text_with_line_break(link):
    target = str(link.readlink())
    link.unlink()
    link.write_text(f"./{target}/\r\n")


def copied(link):
    target = link.resolve()
    link.unlink()
    shutil.copytree(target, link)


def copied_earlier(link):
    """Copy the folder as it was before its metrics and its stage changed."""
    copied(link)
    metadata = link / "metadata.json"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "stage": "None"}))


def dangling(link):
    link.unlink()
    link.symlink_to("v9.9.9")


def outside(link):
    link.unlink()
    link.symlink_to("../../elsewhere")


COPIES = [text, text_with_line_break, copied, copied_earlier]
LOSSES = [missing, *COPIES, dangling, outside]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("has_history", [True, False], ids=["history", "metadata"])
def test_repair_keeps_both_stages(folder, model_folder, loss, has_history):
    """Repair restores both links: from the copies, the history or the metadata."""
    for link in LINKS:
        loss(model_folder / link)
    if not has_history:
        (model_folder / "history.jsonl").unlink()
    found = {finding.path: finding.repairable for finding in inspection.verify(folder)}
    assert {f"{NAME}/{link}": True for link in LINKS}.items() <= found.items()
    inspection.repair(folder)
    assert folder.reader.links.holders(NAME) == HELD
    for link, target in (("production", "v1.0.0"), ("staging", "v1.1.0")):
        assert str((model_folder / link).readlink()) == target
    if has_history:
        assert inspection.verify(folder) == []
    recorded = [
        json.loads((model_folder / f"v{version}" / "metadata.json").read_text())["stage"]
        for version in ("1.0.0", "1.1.0", "1.2.0")
    ]
    assert recorded == ["Production", "Staging", "None"]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("stage", HELD)
def test_lost_stage_is_no_empty_stage(folder, model_folder, loss, stage):
    """Without its link a stage is an error that names repair, never an empty stage."""
    for link in LINKS:
        loss(model_folder / link)
    with pytest.raises(errors.RegistryError) as raised:
        folder.reader.get(NAME, stage=stage)
    assert not isinstance(raised.value, errors.EmptyStageError)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_promotion_replaces_copy(folder, model_folder, promote, loss):
    """A promotion succeeds whatever harmless thing is in the link's place."""
    loss(model_folder / "production")
    promote("1.2.0")
    assert folder.reader.get(NAME).metadata.version == "1.2.0"
    assert inspection.verify(folder) == []


@pytest.mark.parametrize("content", ["my notes", "v9.9.9", "", "v1.0.0\nv1.1.0"])
def test_unknown_file_is_kept(folder, model_folder, promote, content):
    """A file that names no version is lost by neither a repair nor a promotion."""
    (model_folder / "production").unlink()
    (model_folder / "production").write_text(content)
    inspection.repair(folder)
    with pytest.raises(errors.InvalidMetadataError, match="move it out of the registry"):
        promote("1.2.0")
    assert (model_folder / "production").read_text() == content


@pytest.mark.parametrize("file", ["extra.bin", "model.pt", "nested/file"])
def test_folder_with_own_content_is_kept(folder, model_folder, promote, file):
    """A folder that is more than a copy is lost by neither a repair nor a promotion."""
    copied(model_folder / "production")
    (model_folder / "production" / file).parent.mkdir(exist_ok=True)
    (model_folder / "production" / file).write_text("mine")
    inspection.repair(folder)
    with pytest.raises(errors.InvalidMetadataError, match="move it out of the registry"):
        promote("1.2.0")
    assert (model_folder / "production" / file).read_text() == "mine"


def test_copy_that_contradicts_the_history(folder, model_folder):
    """A copy of another version than the history's is left for a person."""
    (model_folder / "production").unlink()
    (model_folder / "production").write_text("v1.2.0")
    (finding,) = inspection.verify(folder)
    assert not finding.repairable
    assert "1.2.0" in finding.problem
    assert "1.0.0" in finding.problem


def test_lost_staging_version_is_not_deleted(folder, model_folder):
    """A version whose staging link is lost still counts as staged."""
    missing(model_folder / "staging")
    with pytest.raises(errors.StageHeldError, match="it is in Staging"):
        folder.versions.delete(NAME, "1.1.0")


def test_removed_stages_stay_empty(folder, model_folder, promote):
    """A version that left staging through the registry is not restored to it."""
    promote("1.1.0")
    folder.stages.set_stage(NAME, "1.2.0", ModelStage.STAGING)
    folder.stages.set_stage(NAME, "1.2.0", ModelStage.NONE)
    with pytest.raises(errors.EmptyStageError):
        folder.reader.get(NAME, stage=ModelStage.STAGING)
    assert inspection.verify(folder) == []


def test_file_system_without_links(folder, register, promote, monkeypatch):
    """Where symbolic links do not exist, files take their place and every operation works."""

    def refuse(self, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    register("1.0.0", "1.1.0", "1.2.0")
    promote("1.0.0")
    folder.stages.set_stage(NAME, "1.1.0", ModelStage.STAGING)
    assert folder.reader.links.holders(NAME) == HELD
    promote("1.1.0")
    assert folder.stages.rollback(NAME).metadata.version == "1.0.0"
    assert folder.reader.links.holders(NAME) == {ModelStage.PRODUCTION: "1.0.0"}
    assert inspection.verify(folder) == []
