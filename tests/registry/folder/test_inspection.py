"""What verify finds, and what repair mends without losing anything."""

import json
import os

import pytest

from registry import ModelStage, errors
from registry.folder import inspection
from registry.folder.writer import RegistryWriter
from registry.records import Action, HistoryEntry

NAME = "toy"


@pytest.fixture
def registry(tmp_path):
    registry = RegistryWriter(tmp_path / "models", check=lambda *_: None)
    for version in ("1.0.0", "1.1.0"):
        file = tmp_path / f"{version}.pt"
        file.write_text(version)
        registry.register(NAME, version, {"model.pt": file}, {"model_type": "Net"})
    registry.set_stage(NAME, "1.0.0", ModelStage.PRODUCTION)
    registry.set_stage(NAME, "1.1.0", ModelStage.STAGING)
    return registry


@pytest.fixture
def folder(registry):
    return registry.layout.model(NAME)


def found(registry):
    return [(each.path, each.repairable) for each in inspection.verify(registry)]


def intend(registry, action, version, **fields):
    """Leave the intent of a writer that died."""
    entry = HistoryEntry(
        id="0" * 32,
        time=registry._now(),
        action=action,
        version=version,
        by="dead",
        **{"from_stage": ModelStage.NONE, "to_stage": ModelStage.NONE, **fields},
    )
    registry.journal(NAME).begin(entry)
    return entry


def test_a_sound_registry_has_no_findings(registry):
    assert inspection.verify(registry) == []
    assert inspection.repair(registry) == []


def test_a_changed_file_and_a_missing_one_are_found_and_left_alone(registry, folder):
    (folder / "v1.0.0" / "model.pt").write_text("altered")
    (folder / "v1.1.0" / "model.pt").unlink()
    changed, missing = inspection.verify(registry)
    assert (changed.path, changed.repairable) == ("toy/v1.0.0/model.pt", False)
    assert "expected sha256" in changed.problem
    assert (missing.path, missing.repairable) == ("toy/v1.1.0/model.pt", False)
    assert "no file at" in missing.problem
    assert inspection.repair(registry) == []


def test_metadata_that_cannot_be_read_is_found(registry, folder):
    (folder / "v1.1.0" / "metadata.json").unlink()
    document = json.loads((folder / "v1.0.0" / "metadata.json").read_text())
    (folder / "v1.0.0" / "metadata.json").write_text(json.dumps({**document, "schema_version": 9}))
    assert found(registry) == [
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
def test_what_an_interrupted_writer_left_is_removed(registry, folder, leftover):
    path = folder / leftover
    path.parent.mkdir(exist_ok=True)
    path.write_text("half")
    ((where, repairable),) = found(registry)
    assert repairable
    assert inspection.repair(registry)[0].path == where
    assert inspection.verify(registry) == []
    assert registry.read_artifact(NAME, "1.0.0", "model.pt") == b"1.0.0"


@pytest.mark.parametrize("stranger", ["notes.txt", "toy/backup/model.pt", "toy/v1.0.0/extra.bin"])
def test_what_is_not_the_registrys_is_reported_and_kept(registry, stranger):
    path = registry.layout.root / stranger
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    ((_, repairable),) = found(registry)
    assert not repairable
    assert inspection.repair(registry) == []
    assert path.read_text() == "mine"


@pytest.mark.parametrize("target", [None, "v9.9.9", "vabc", "../elsewhere"])
def test_a_lost_production_link_is_set_anew_as_the_history_tells(registry, folder, target):
    (folder / "production").unlink()
    if target:
        (folder / "production").symlink_to(target)
    assert found(registry) == [("toy/production", True)]
    with pytest.raises(errors.StageHeldError, match="it is in Production"):
        registry.delete(NAME, "1.0.0")
    with pytest.raises(errors.StageHeldError, match="it is in Production"):
        registry.retire(NAME, "1.0.0")
    inspection.repair(registry)
    assert inspection.verify(registry) == []
    assert registry.holders(NAME)[ModelStage.PRODUCTION] == "1.0.0"


def test_promoting_away_from_a_broken_link_works(registry, folder):
    (folder / "production").unlink()
    (folder / "production").symlink_to("vabc")
    registry.set_stage(NAME, "1.1.0", ModelStage.PRODUCTION)
    assert registry.get(NAME).metadata.version == "1.1.0"


def test_a_history_that_lost_its_last_line_break_loses_nothing(registry, folder):
    """As an editor leaves it; and one with an empty line at its end."""
    before = registry.history(NAME)
    path = folder / "history.jsonl"
    for edit in (lambda content: content[:-1], lambda content: content + b"\n"):
        path.write_bytes(edit(path.read_bytes()))
        assert registry.history(NAME) == before
        assert inspection.verify(registry) == []
        registry.update_metrics(NAME, "1.0.0", {"accuracy": len(before)})
        assert registry.history(NAME)[:-1] == before
        before = registry.history(NAME)


def test_what_is_no_plain_file_is_refused_and_holds_nobody_up(registry, folder):
    metadata = folder / "v1.1.0" / "metadata.json"
    metadata.unlink()
    os.mkfifo(metadata)
    assert [info.metadata.version for info in registry.list_versions()] == ["1.0.0"]
    metadata.unlink()
    metadata.mkdir()
    assert [info.metadata.version for info in registry.list_versions()] == ["1.0.0"]
    with pytest.raises(errors.UnsafePathError, match="not a regular file"):
        registry.get(NAME, "1.1.0")


def test_an_artifact_name_that_leads_out_of_the_version_is_refused(registry, folder):
    metadata = folder / "v1.1.0" / "metadata.json"
    document = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**document, "artifacts": {"../../x.pt": "0" * 64}}))
    with pytest.raises(errors.InvalidMetadataError, match="a plain file name"):
        registry.read_artifact(NAME, "1.1.0", "../../x.pt")


def test_a_link_to_nowhere_is_mended_for_staging_and_reported_without_a_history(registry, folder):
    (folder / "history.jsonl").unlink()
    for link in ("production", "staging"):
        (folder / link).unlink()
        (folder / link).symlink_to("v9.9.9")
    assert ("toy/production", False) in found(registry)
    assert ("toy/staging", True) in found(registry)
    inspection.repair(registry)
    assert "toy/production" in {path for path, _ in found(registry)}
    assert "toy/staging" not in {path for path, _ in found(registry)}


def test_a_stage_that_the_metadata_tells_wrongly_is_written_anew(registry, folder):
    (folder / "production").unlink()
    (folder / "production").symlink_to("v1.1.0")
    assert [path for path, _ in found(registry)] == [
        "toy/v1.0.0/metadata.json",
        "toy/v1.1.0/metadata.json",
        "toy/staging",
    ]
    inspection.repair(registry)
    assert registry.recorded_stage(NAME, "1.0.0") is ModelStage.ARCHIVED
    assert registry.recorded_stage(NAME, "1.1.0") is ModelStage.PRODUCTION


def test_a_version_put_there_by_hand_is_reported(registry, folder):
    path = folder / "v3.0.0"
    path.mkdir()
    document = json.loads((folder / "v1.0.0" / "metadata.json").read_text())
    document |= {"version": "3.0.0", "stage": "None", "artifacts": {}}
    (path / "metadata.json").write_text(json.dumps(document))
    (finding,) = inspection.verify(registry)
    assert (finding.path, finding.repairable) == ("toy/v3.0.0", False)
    assert "tells of no registration" in finding.problem


def test_a_torn_history_line_is_cut_off(registry, folder):
    before = registry.history(NAME)
    with (folder / "history.jsonl").open("a") as file:
        file.write('{"id": "half a li')
    assert registry.history(NAME) == before
    assert found(registry) == [("toy/history.jsonl", True)]
    inspection.repair(registry)
    assert inspection.verify(registry) == []
    registry.update_metrics(NAME, "1.0.0", {"accuracy": 1})
    assert registry.history(NAME)[:-1] == before


def test_a_change_that_was_committed_is_finished_for_its_dead_writer(registry, folder):
    entry = intend(
        registry,
        Action.PROMOTED,
        "1.1.0",
        from_stage=ModelStage.STAGING,
        to_stage=ModelStage.PRODUCTION,
        replaced="1.0.0",
    )
    (folder / "production").unlink()
    (folder / "production").symlink_to("v1.1.0")
    assert registry.history(NAME)[-1] == entry
    assert ("toy/.intent.json", True) in found(registry)
    inspection.repair(registry)
    assert inspection.verify(registry) == []
    assert registry.history(NAME)[-1] == entry
    assert registry.holders(NAME) == {ModelStage.PRODUCTION: "1.1.0"}


def test_a_change_that_was_not_committed_is_dropped(registry):
    before = registry.history(NAME)
    intend(registry, Action.PROMOTED, "1.1.0", to_stage=ModelStage.PRODUCTION)
    assert registry.history(NAME) == before
    registry.update_metrics(NAME, "1.0.0", {"accuracy": 1})
    assert registry.history(NAME)[:-1] == before
    assert inspection.verify(registry) == []


def test_links_in_the_place_of_folders_and_files_are_not_followed(registry, folder, tmp_path):
    outside = tmp_path / "outside"
    (folder / "v1.0.0").rename(outside)
    (folder / "v1.0.0").symlink_to(outside)
    with pytest.raises(errors.UnsafePathError, match="is a link"):
        registry.get(NAME, "1.0.0")
    artifact = folder / "v1.1.0" / "model.pt"
    artifact.unlink()
    artifact.symlink_to(outside / "model.pt")
    with pytest.raises(errors.UnsafePathError, match="is a link"):
        registry.read_artifact(NAME, "1.1.0", "model.pt")
    (registry.layout.root / "linked").symlink_to(folder)
    with pytest.raises(errors.UnsafePathError, match="is a link"):
        registry.versions("linked")
    assert registry.models() == [NAME]
    assert {"linked", "toy/v1.0.0", "toy/v1.1.0/model.pt"} <= {path for path, _ in found(registry)}
