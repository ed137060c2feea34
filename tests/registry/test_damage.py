"""What hands and other software may do to the folder stops neither the rest nor the way out."""

import json
import shutil

import pytest

from registry import ModelStage, errors
from registry.folder import inspection
from registry.records import Action
from tests.registry.forker import open_writer
from tests.registry.model import NAME, apply, snapshot, write_sources

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
def registry(memory_path, sources):
    registry = open_writer(memory_path / "models")
    for operation in PREPARED:
        apply(registry, sources, operation)
    return registry


@pytest.fixture
def folder(registry):
    return registry.layout.model(NAME)


def remove(version):
    shutil.rmtree(version)


def truncate(version):
    document = (version / "metadata.json").read_bytes()
    (version / "metadata.json").write_bytes(document[: len(document) // 2])


def lose_metadata(version):
    (version / "metadata.json").unlink()


def lead_away(version):
    version.rename(version.parents[2] / "elsewhere")
    version.symlink_to(version.parents[2] / "elsewhere")


def write_other_schema(version):
    document = json.loads((version / "metadata.json").read_text())
    (version / "metadata.json").write_text(json.dumps({**document, "schema_version": 2}))


DAMAGES = [remove, truncate, lose_metadata, lead_away, write_other_schema]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("way_out", [("stage", "1.2.0", "Production"), ("rollback",)])
def test_from_a_damaged_production_version_there_is_a_way_out(
    registry, folder, sources, damage, way_out
):
    """Promotion and rollback need nothing of the version that they replace."""
    damage(folder / "v1.1.0")
    with pytest.raises(errors.RegistryError):
        registry.get(NAME, stage=ModelStage.PRODUCTION)
    apply(registry, sources, way_out)
    found = open_writer(registry.layout.root).get(NAME, stage=ModelStage.PRODUCTION)
    assert found.metadata.version == {"stage": "1.2.0", "rollback": "1.0.0"}[way_out[0]]
    assert not registry.layout.intent(NAME).exists()
    assert registry.history(NAME)[-1].replaced == "1.1.0"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("action", list(Action))
def test_a_dead_writers_change_to_a_damaged_version_blocks_no_other(
    registry, folder, sources, damage, action
):
    stage = ModelStage.PRODUCTION if action in (Action.PROMOTED, Action.ROLLED_BACK) else None
    entry = registry._entry(NAME, action, "1.1.0", "dead", "", ModelStage.NONE, stage, "1.0.0")
    registry.journal(NAME).begin(entry)
    damage(folder / "v1.1.0")
    registry.history(NAME)
    apply(registry, sources, ("stage", "1.2.0", "Production"))
    assert registry.get(NAME).metadata.version == "1.2.0"


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=repr)
@pytest.mark.parametrize("field", ["by", "reason"])
def test_who_and_why_are_text_that_can_be_written(registry, folder, field, text):
    before = snapshot(folder)
    with pytest.raises(errors.InvalidMetadataError, match=field):
        registry.set_stage(NAME, "1.0.0", ModelStage.PRODUCTION, **{field: text})
    assert snapshot(folder) == before


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
def test_what_json_cannot_carry_is_refused_before_anything_is_written(
    registry, folder, sources, fields
):
    before = snapshot(folder)
    with pytest.raises(errors.InvalidMetadataError):
        registry.register(NAME, "3.0.0", {"model.pt": sources / "a"}, {"model_type": "N", **fields})
    assert snapshot(folder) == before


@pytest.mark.parametrize("file", ["history.jsonl", ".intent.json", ".lock", "v1.0.0/metadata.json"])
def test_a_file_that_is_a_link_is_not_written_through(registry, folder, sources, file):
    """What it leads to stays as it is, and verify names it."""
    outside = folder.parents[1] / "outside"
    outside.write_text("precious\n")
    (folder / file).unlink(missing_ok=True)
    (folder / file).symlink_to(outside)
    with pytest.raises(errors.RegistryError):
        registry.update_metrics(NAME, "1.0.0", {"accuracy": 1.0})
    assert outside.read_text() == "precious\n"
    assert (folder / file).is_symlink()


@pytest.mark.parametrize("file", ["history.jsonl", ".intent.json", "v1.0.0/metadata.json"])
@pytest.mark.parametrize("content", [b"x", b"{}", b"\xff\n", b"[" * 100_000 + b"\n"], ids=len)
def test_a_file_that_says_nothing_is_named_by_verify_and_repair_goes_on(
    registry, folder, file, content
):
    """Other models are looked at all the same."""
    (folder / file).write_bytes(content + b"\n" + (folder / "history.jsonl").read_bytes())
    inspection.repair(registry)
    assert f"{NAME}/{file}" in {finding.path for finding in inspection.verify(registry)}


def test_a_link_that_is_a_file_is_named(registry, folder):
    (folder / "production").unlink()
    (folder / "production").write_text("v1.0.0")
    with pytest.raises(errors.InvalidMetadataError, match="expected a link to a version's folder"):
        registry.get(NAME)
    assert f"{NAME}/production" in {finding.path for finding in inspection.verify(registry)}


def test_a_staging_link_to_the_production_version_is_removed_by_repair(registry, folder):
    (folder / "staging").symlink_to("v1.1.0")
    assert registry.get(NAME).metadata.stage is ModelStage.PRODUCTION
    with pytest.raises(errors.EmptyStageError):
        registry.get(NAME, stage=ModelStage.STAGING)
    (finding,) = inspection.verify(registry)
    assert (finding.path, finding.repairable) == (f"{NAME}/staging", True)
    inspection.repair(registry)
    assert inspection.verify(registry) == []
    assert not (folder / "staging").is_symlink()


def test_a_reader_that_read_an_intent_before_it_was_finished_counts_it_once(registry, folder):
    """The history it reads then holds the change already, and later ones after it."""
    entries = registry.history(NAME)
    registry.journal(NAME).begin(entries[0])
    assert registry.history(NAME) == entries
