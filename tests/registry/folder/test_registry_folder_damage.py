"""External modifications of the folder affect only the damaged files, and always have a remedy."""

import json
import shutil
from datetime import UTC, datetime

import pytest

from registry import ModelStage, errors
from registry.folder import inspection
from registry.records import Action, HistoryEntry
from tests.registry.crash_harness import open_folder
from tests.registry.reference_model import NAME, apply, snapshot, write_sources

PREPARED = [
    ("register", "1.0.0", "a"),
    ("register", "1.1.0", "b"),
    ("register", "1.2.0", "b"),
    ("stage", "1.0.0", "Production"),
    ("stage", "1.1.0", "Production"),
]
HOSTILE_TEXTS = ["\ud800", 3]


@pytest.fixture
def sources(memory_path):
    return write_sources(memory_path / "sources")


@pytest.fixture
def folder(memory_path, sources):
    folder = open_folder(memory_path / "models")
    for operation in PREPARED:
        apply(folder, sources, operation)
    return folder


@pytest.fixture
def model_folder(folder):
    return folder.layout.model(NAME)


def remove(version):
    shutil.rmtree(version)


def truncate(version):
    document = (version / "metadata.json").read_bytes()
    (version / "metadata.json").write_bytes(document[: len(document) // 2])


def lose_metadata(version):
    (version / "metadata.json").unlink()


def replace_by_link(version):
    version.rename(version.parents[2] / "elsewhere")
    version.symlink_to(version.parents[2] / "elsewhere")


def write_other_schema(version):
    document = json.loads((version / "metadata.json").read_text())
    (version / "metadata.json").write_text(json.dumps({**document, "schema_version": 2}))


DAMAGES = [remove, truncate, lose_metadata, replace_by_link, write_other_schema]


def findings(folder):
    return {finding.path for finding in inspection.verify(folder)}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("remedy", [("stage", "1.2.0", "Production"), ("rollback",)])
def test_damaged_production_can_be_replaced(folder, model_folder, sources, damage, remedy):
    """Promotion and rollback need nothing of the version that they replace."""
    damage(model_folder / "v1.1.0")
    with pytest.raises(errors.RegistryError):
        folder.reader.get(NAME, stage=ModelStage.PRODUCTION)
    apply(folder, sources, remedy)
    found = open_folder(folder.layout.root).reader.get(NAME, stage=ModelStage.PRODUCTION)
    assert found.metadata.version == {"stage": "1.2.0", "rollback": "1.0.0"}[remedy[0]]
    assert not folder.layout.intent(NAME).exists()
    assert folder.reader.history(NAME)[-1].replaced == "1.1.0"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("action", list(Action))
def test_interrupted_change_of_damaged_version(folder, model_folder, sources, damage, action):
    """The intent of a dead writer for a damaged version blocks no other change."""
    stage = ModelStage.PRODUCTION if action in (Action.PROMOTED, Action.ROLLED_BACK) else None
    entry = HistoryEntry(
        id="0" * 32,
        time=datetime.now(UTC),
        action=action,
        version="1.1.0",
        from_stage=ModelStage.NONE,
        to_stage=ModelStage.NONE if action is Action.REGISTERED else stage,
        replaced="1.0.0",
        by="dead",
    )
    folder.reader.journal(NAME).begin(entry)
    damage(model_folder / "v1.1.0")
    folder.reader.history(NAME)
    apply(folder, sources, ("stage", "1.2.0", "Production"))
    assert folder.reader.get(NAME).metadata.version == "1.2.0"


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=repr)
@pytest.mark.parametrize("field", ["by", "reason"])
def test_author_and_reason_are_text(folder, model_folder, field, text):
    """An author or reason that UTF-8 cannot encode is rejected before anything is written."""
    before = snapshot(model_folder)
    with pytest.raises(errors.InvalidMetadataError, match=field):
        folder.stages.set_stage(NAME, "1.0.0", ModelStage.PRODUCTION, **{field: text})
    assert snapshot(model_folder) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"description": "\ud800"},
        {"training_params": {"note": ["\ud800"]}},
        {"training_params": {"\ud800": 1}},
        {"dataset_info": {"source": {"name": "\ud800"}}},
        {"dataset_info": {"path": b"data.csv"}},
        {"training_params": {"loss": float("nan")}},
        {"metrics": {"accuracy": 10**400}},
        {"tags": ["\ud800"]},
    ],
    ids=repr,
)
def test_metadata_that_json_cannot_hold(folder, model_folder, sources, fields):
    """Metadata that JSON cannot hold is rejected before anything is written."""
    before = snapshot(model_folder)
    with pytest.raises(errors.InvalidMetadataError):
        folder.versions.register(
            NAME, "3.0.0", {"model.pt": sources / "a"}, {"model_type": "N", **fields}
        )
    assert snapshot(model_folder) == before


@pytest.mark.parametrize("file", ["history.jsonl", ".intent.json", ".lock", "v1.0.0/metadata.json"])
def test_links_are_not_written_through(folder, model_folder, sources, file):
    """A link in a file's place is rejected, and its target keeps its content."""
    outside = model_folder.parents[1] / "outside"
    outside.write_text("precious\n")
    (model_folder / file).unlink(missing_ok=True)
    (model_folder / file).symlink_to(outside)
    with pytest.raises(errors.RegistryError):
        folder.versions.update_metrics(NAME, "1.0.0", {"accuracy": 1.0})
    assert outside.read_text() == "precious\n"
    assert (model_folder / file).is_symlink()


@pytest.mark.parametrize("file", ["history.jsonl", ".intent.json", "v1.0.0/metadata.json"])
@pytest.mark.parametrize("content", [b"x", b"{}", b"\xff\n", b"[" * 100_000 + b"\n"], ids=len)
def test_unreadable_file_is_found(folder, model_folder, file, content):
    """verify names a file with invalid content, and repair continues past it."""
    (model_folder / file).write_bytes(
        content + b"\n" + (model_folder / "history.jsonl").read_bytes()
    )
    inspection.repair(folder)
    assert f"{NAME}/{file}" in findings(folder)


def test_file_in_place_of_stage_link(folder, model_folder):
    """A file in the place of a stage link is an error, and verify names it."""
    (model_folder / "production").unlink()
    (model_folder / "production").write_text("v1.0.0")
    with pytest.raises(errors.InvalidMetadataError, match="expected a link to a version's folder"):
        folder.reader.get(NAME)
    assert f"{NAME}/production" in findings(folder)


def test_staging_link_to_production_version(folder, model_folder):
    """A staging link to the production version does not count, and repair removes it."""
    (model_folder / "staging").symlink_to("v1.1.0")
    assert folder.reader.get(NAME).metadata.stage is ModelStage.PRODUCTION
    with pytest.raises(errors.EmptyStageError):
        folder.reader.get(NAME, stage=ModelStage.STAGING)
    (finding,) = inspection.verify(folder)
    assert (finding.path, finding.repairable) == (f"{NAME}/staging", True)
    inspection.repair(folder)
    assert inspection.verify(folder) == []
    assert not (model_folder / "staging").is_symlink()


def test_intent_that_is_in_history_counts_once(folder):
    """A reader may read an intent just before its writer adds it to the history."""
    entries = folder.reader.history(NAME)
    folder.reader.journal(NAME).begin(entries[0])
    assert folder.reader.history(NAME) == entries
