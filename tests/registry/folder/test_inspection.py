"""The findings of verify, and the repairs that lose nothing."""

import json
import os
from datetime import UTC, datetime

import pytest

from registry import ModelStage, errors
from registry.folder import inspection
from registry.folder.registry_folder import RegistryFolder
from registry.records import Action, HistoryEntry

NAME = "toy"


@pytest.fixture
def folder(tmp_path):
    folder = RegistryFolder(tmp_path / "models", check=lambda *_: None)
    for version in ("1.0.0", "1.1.0"):
        file = tmp_path / f"{version}.pt"
        file.write_text(version)
        folder.versions.register(NAME, version, {"model.pt": file}, {"model_type": "Net"})
    folder.stages.set_stage(NAME, "1.0.0", ModelStage.PRODUCTION)
    folder.stages.set_stage(NAME, "1.1.0", ModelStage.STAGING)
    return folder


@pytest.fixture
def model_folder(folder):
    return folder.layout.model(NAME)


def found(folder):
    return [(finding.path, finding.repairable) for finding in inspection.verify(folder)]


def recorded_stage(model_folder, version):
    return json.loads((model_folder / f"v{version}" / "metadata.json").read_text())["stage"]


def begin(folder, action, version, **fields):
    """Leave the intent of a dead writer."""
    entry = HistoryEntry(
        id="0" * 32,
        time=datetime.now(UTC),
        action=action,
        version=version,
        by="dead",
        **{"from_stage": ModelStage.NONE, "to_stage": ModelStage.NONE, **fields},
    )
    folder.reader.journal(NAME).begin(entry)
    return entry


def test_intact_registry_has_no_findings(folder):
    """An intact registry has no findings and needs no repair."""
    assert inspection.verify(folder) == []
    assert inspection.repair(folder) == []


def test_modified_and_missing_artifacts(folder, model_folder):
    """Modified and missing artifacts are found, and repair leaves them alone."""
    (model_folder / "v1.0.0" / "model.pt").write_text("altered")
    (model_folder / "v1.1.0" / "model.pt").unlink()
    modified, missing = inspection.verify(folder)
    assert (modified.path, modified.repairable) == ("toy/v1.0.0/model.pt", False)
    assert "expected sha256" in modified.problem
    assert (missing.path, missing.repairable) == ("toy/v1.1.0/model.pt", False)
    assert "no file at" in missing.problem
    assert inspection.repair(folder) == []


def test_unreadable_metadata(folder, model_folder):
    """Missing metadata and metadata of another schema are found."""
    (model_folder / "v1.1.0" / "metadata.json").unlink()
    file = model_folder / "v1.0.0" / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": 9}))
    assert found(folder) == [
        ("toy/v1.0.0/metadata.json", False),
        ("toy/v1.1.0/metadata.json", False),
    ]


@pytest.mark.parametrize(
    "leftover",
    [
        ".incoming-0123456789abcdef0123456789abcdef/model.pt",
        ".deleted-v0.9.0-0123456789abcdef0123456789abcdef/model.pt",
        ".production-0123456789abcdef0123456789abcdef",
        ".history.jsonl-0123456789abcdef0123456789abcdef",
        "v1.0.0/.metadata.json-0123456789abcdef0123456789abcdef",
    ],
)
def test_leftovers_are_removed(folder, model_folder, leftover):
    """Repair removes the leftovers of an interrupted writer, and nothing else."""
    path = model_folder / leftover
    path.parent.mkdir(exist_ok=True)
    path.write_text("half")
    ((where, repairable),) = found(folder)
    assert repairable
    assert inspection.repair(folder)[0].path == where
    assert inspection.verify(folder) == []
    assert folder.reader.read_artifact(NAME, "1.0.0", "model.pt") == b"1.0.0"


@pytest.mark.parametrize("file", ["notes.txt", "toy/backup/model.pt", "toy/v1.0.0/extra.bin"])
def test_unknown_files_are_kept(folder, file):
    """Unknown files are reported and kept."""
    path = folder.layout.root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    ((_, repairable),) = found(folder)
    assert not repairable
    assert inspection.repair(folder) == []
    assert path.read_text() == "mine"


@pytest.mark.parametrize("file", [".bars/manifest.json", ".serving-trading-models.json"])
def test_files_of_a_server(folder, file):
    """What a server keeps in the registry's folder is not unknown."""
    path = folder.layout.root / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("the server's")
    assert inspection.verify(folder) == []


@pytest.mark.parametrize("target", [None, "v9.9.9", "vabc", "../elsewhere"])
def test_lost_production_link_is_restored(folder, model_folder, target):
    """A missing or invalid production link is restored from the history.

    Until then the version counts as in production: it can be neither deleted nor retired.
    """
    (model_folder / "production").unlink()
    if target:
        (model_folder / "production").symlink_to(target)
    assert found(folder) == [("toy/production", True)]
    with pytest.raises(errors.StageHeldError, match="it is in Production"):
        folder.versions.delete(NAME, "1.0.0")
    with pytest.raises(errors.StageHeldError, match="it is in Production"):
        folder.stages.retire(NAME, "1.0.0")
    inspection.repair(folder)
    assert inspection.verify(folder) == []
    assert folder.reader.links.holders(NAME)[ModelStage.PRODUCTION] == "1.0.0"


def test_promotion_replaces_invalid_link(folder, model_folder):
    """A promotion replaces an invalid production link."""
    (model_folder / "production").unlink()
    (model_folder / "production").symlink_to("vabc")
    folder.stages.set_stage(NAME, "1.1.0", ModelStage.PRODUCTION)
    assert folder.reader.get(NAME).metadata.version == "1.1.0"


def test_history_without_last_line_break(folder, model_folder):
    """A missing line break or an empty line at the end, as editors leave them, lose nothing."""
    before = folder.reader.history(NAME)
    path = model_folder / "history.jsonl"
    for edit in (lambda content: content[:-1], lambda content: content + b"\n"):
        path.write_bytes(edit(path.read_bytes()))
        assert folder.reader.history(NAME) == before
        assert inspection.verify(folder) == []
        folder.versions.update_metrics(NAME, "1.0.0", {"accuracy": len(before)})
        assert folder.reader.history(NAME)[:-1] == before
        before = folder.reader.history(NAME)


def test_special_file_in_place_of_metadata(folder, model_folder):
    """A pipe or folder in the place of metadata is rejected and does not block a reader."""
    metadata = model_folder / "v1.1.0" / "metadata.json"
    metadata.unlink()
    os.mkfifo(metadata)
    assert [info.metadata.version for info in folder.reader.list_versions()] == ["1.0.0"]
    metadata.unlink()
    metadata.mkdir()
    assert [info.metadata.version for info in folder.reader.list_versions()] == ["1.0.0"]
    with pytest.raises(errors.UnsafePathError, match="not a regular file"):
        folder.reader.get(NAME, "1.1.0")


def test_artifact_name_out_of_version(folder, model_folder):
    """An artifact name in the metadata that leads out of the version is rejected."""
    metadata = model_folder / "v1.1.0" / "metadata.json"
    document = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**document, "artifacts": {"../../x.pt": "0" * 64}}))
    with pytest.raises(errors.InvalidMetadataError, match="a plain file name"):
        folder.reader.read_artifact(NAME, "1.1.0", "../../x.pt")


def test_link_to_missing_version(folder, model_folder):
    """Without any record repair removes a staging link to nowhere, and no production link."""
    (model_folder / "history.jsonl").unlink()
    for version in ("1.0.0", "1.1.0"):
        metadata = model_folder / f"v{version}" / "metadata.json"
        metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "stage": "None"}))
    for link in ("production", "staging"):
        (model_folder / link).unlink()
        (model_folder / link).symlink_to("v9.9.9")
    assert ("toy/production", False) in found(folder)
    assert ("toy/staging", True) in found(folder)
    inspection.repair(folder)
    assert "toy/production" in {path for path, _ in found(folder)}
    assert "toy/staging" not in {path for path, _ in found(folder)}


def test_wrong_recorded_stage_is_corrected(folder, model_folder):
    """Repair writes the stages of the links to metadata that contradicts them."""
    (model_folder / "production").unlink()
    (model_folder / "production").symlink_to("v1.1.0")
    assert [path for path, _ in found(folder)] == [
        "toy/v1.0.0/metadata.json",
        "toy/v1.1.0/metadata.json",
        "toy/staging",
    ]
    inspection.repair(folder)
    assert recorded_stage(model_folder, "1.0.0") == "Archived"
    assert recorded_stage(model_folder, "1.1.0") == "Production"


def test_version_created_externally(folder, model_folder):
    """A version folder without a registration in the history is found."""
    path = model_folder / "v3.0.0"
    path.mkdir()
    document = json.loads((model_folder / "v1.0.0" / "metadata.json").read_text())
    document |= {"version": "3.0.0", "stage": "None", "artifacts": {}}
    (path / "metadata.json").write_text(json.dumps(document))
    (finding,) = inspection.verify(folder)
    assert (finding.path, finding.repairable) == ("toy/v3.0.0", False)
    assert "no registration" in finding.problem


def test_incomplete_history_line_is_removed(folder, model_folder):
    """An incomplete last line of the history is ignored by readers and removed by repair."""
    before = folder.reader.history(NAME)
    with (model_folder / "history.jsonl").open("a") as file:
        file.write('{"id": "half a li')
    assert folder.reader.history(NAME) == before
    assert found(folder) == [("toy/history.jsonl", True)]
    inspection.repair(folder)
    assert inspection.verify(folder) == []
    folder.versions.update_metrics(NAME, "1.0.0", {"accuracy": 1})
    assert folder.reader.history(NAME)[:-1] == before


def test_committed_change_is_completed(folder, model_folder):
    """A change that a dead writer committed is in the history, and repair completes it."""
    entry = begin(
        folder,
        Action.PROMOTED,
        "1.1.0",
        from_stage=ModelStage.STAGING,
        to_stage=ModelStage.PRODUCTION,
        replaced="1.0.0",
    )
    (model_folder / "production").unlink()
    (model_folder / "production").symlink_to("v1.1.0")
    assert folder.reader.history(NAME)[-1] == entry
    assert ("toy/.intent.json", True) in found(folder)
    inspection.repair(folder)
    assert inspection.verify(folder) == []
    assert folder.reader.history(NAME)[-1] == entry
    assert folder.reader.links.holders(NAME) == {ModelStage.PRODUCTION: "1.1.0"}


def test_uncommitted_change_is_discarded(folder):
    """A change that a dead writer did not commit leaves no trace after the next change."""
    before = folder.reader.history(NAME)
    begin(folder, Action.PROMOTED, "1.1.0", to_stage=ModelStage.PRODUCTION)
    assert folder.reader.history(NAME) == before
    folder.versions.update_metrics(NAME, "1.0.0", {"accuracy": 1})
    assert folder.reader.history(NAME)[:-1] == before
    assert inspection.verify(folder) == []


def test_links_are_not_followed(folder, model_folder, tmp_path):
    """Links in the place of models, versions and artifacts are rejected and found."""
    outside = tmp_path / "outside"
    (model_folder / "v1.0.0").rename(outside)
    (model_folder / "v1.0.0").symlink_to(outside)
    with pytest.raises(errors.UnsafePathError, match="is a link"):
        folder.reader.get(NAME, "1.0.0")
    artifact = model_folder / "v1.1.0" / "model.pt"
    artifact.unlink()
    artifact.symlink_to(outside / "model.pt")
    with pytest.raises(errors.UnsafePathError, match="is a link"):
        folder.reader.read_artifact(NAME, "1.1.0", "model.pt")
    (folder.layout.root / "linked").symlink_to(model_folder)
    with pytest.raises(errors.UnsafePathError, match="is a link"):
        folder.reader.files.versions("linked")
    assert folder.reader.files.models() == [NAME]
    assert {"linked", "toy/v1.0.0", "toy/v1.1.0/model.pt"} <= {path for path, _ in found(folder)}
