"""A restored server has the same versions, history, states and verdicts."""

import shutil
import threading

import numpy as np
import pytest
from typer.testing import CliRunner

from features import Bars, Timeframe
from features.bar_log import BarLog, BarReader, Limits
from features.bars import LATEST_MS
from features.errors import UsedBarLogError
from registry import ModelStage
from registry.folder import inspection
from registry.folder.registry_folder import RegistryFolder
from serve_app.backup.archive import writing
from serve_app.backup.backup import back_up
from serve_app.backup.errors import ArchiveError, InUseError
from serve_app.backup.restore import restore
from serve_app.cli import app
from serve_app.experiments.store import ExperimentStore
from serve_app.settings import AppSettings
from tests.serve_app.experiments.factories import START, definition, prediction

NAME = "toy"


def folder_of(root):
    return RegistryFolder(root, check=lambda *_: None)


def register(folder, tmp_path, version, content="weights"):
    file = tmp_path / f"{version}.pt"
    file.write_text(content)
    folder.versions.register(NAME, version, {"model.pt": file}, {"model_type": "Net"})


@pytest.fixture
def root(tmp_path):
    """A registry with two versions in stages, a serving state, tokens and leftovers."""
    root = tmp_path / "models"
    folder = folder_of(root)
    for version in ("1.0.0", "1.1.0"):
        register(folder, tmp_path, version)
    folder.stages.set_stage(NAME, "1.0.0", ModelStage.PRODUCTION)
    folder.stages.set_stage(NAME, "1.1.0", ModelStage.STAGING)
    (root / ".serving-trading-models.json").write_text('{"revision": 3}')
    (root / ".tokens.json").write_text("{}")
    (root / ".tokens.json").chmod(0o600)
    (root / NAME / f".incoming-{'0' * 32}").mkdir()
    return root


def settings_of(root, database_url=None):
    experiments = {} if database_url is None else {"database_url": database_url}
    return [
        AppSettings(registry_root=str(root), versions=[{"model": NAME}], experiments=experiments)
    ]


def fill(url, count=3):
    with ExperimentStore(url) as store:
        store.create_experiment(definition(), START, "trading-models", "bot", "key")
        store.write_predictions([prediction(number) for number in range(count)])


def blocks(url):
    with ExperimentStore(url) as store:
        return store.blocks(definition().experiment_id), store.history(definition().experiment_id)


def test_restored_registry(root, tmp_path):
    """Everything but locks and leftovers comes back, and the registry has no findings."""
    back_up(settings_of(root), tmp_path / "backup.tar")
    restored = tmp_path / "elsewhere" / "models"
    restore(tmp_path / "backup.tar", settings_of(restored))
    folder = folder_of(restored)
    assert inspection.verify(folder) == []
    assert folder.layout.versions(NAME) == ["1.0.0", "1.1.0"]
    for path in ("history.jsonl", "v1.0.0/model.pt", "v1.1.0/metadata.json"):
        assert (restored / NAME / path).read_bytes() == (root / NAME / path).read_bytes()
    assert (restored / NAME / "production").readlink() == (root / NAME / "production").readlink()
    assert (restored / ".serving-trading-models.json").read_text() == '{"revision": 3}'
    assert (restored / ".tokens.json").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in (restored / NAME).glob(".*")} == set()
    register(folder, tmp_path, "1.2.0")
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_same_evidence(root, tmp_path):
    """The experiments of the default database have the same summaries and history."""
    default = f"sqlite:///{root}/.experiments-trading-models.db"
    fill(default)
    before = blocks(default)
    back_up(settings_of(root), tmp_path / "backup.tar")
    shutil.rmtree(root)
    restore(tmp_path / "backup.tar", settings_of(root))
    assert before[0]
    assert blocks(default) == before


def test_another_database(root, tmp_path):
    """A database outside the registry is restored to the configured place, which must be empty."""
    before, after = (f"sqlite:///{tmp_path}/{name}.db" for name in ("before", "after"))
    fill(before)
    back_up(settings_of(root, before), tmp_path / "backup.tar")
    with pytest.raises(ArchiveError, match="holds 1 databases, the configuration names 0"):
        restore(tmp_path / "backup.tar", settings_of(tmp_path / "r1"))
    restore(tmp_path / "backup.tar", settings_of(tmp_path / "r2", after))
    assert blocks(after) == blocks(before)


def test_forged_names(root, tmp_path):
    """A file with names that no backup has is rejected, and nothing is restored."""
    with writing(tmp_path / "forged.tar") as archive:
        archive.add("registries/models/note.txt", root / ".serving-trading-models.json")
    with pytest.raises(ArchiveError, match="registries/models is none of its registries"):
        restore(tmp_path / "forged.tar", settings_of(tmp_path / "restored"))
    assert not (tmp_path / "restored").exists()


def test_used_places_are_kept(root, tmp_path):
    """A restore replaces nothing: neither a registry nor the rows of a database."""
    url = f"sqlite:///{tmp_path}/x.db"
    fill(url)
    back_up(settings_of(root, url), tmp_path / "backup.tar")
    with pytest.raises(InUseError, match="expected an empty folder or none"):
        restore(tmp_path / "backup.tar", settings_of(root, url))
    result = run("restore", tmp_path, tmp_path / "new", url)
    assert result.exit_code == 1
    assert "is in use: expected no rows" in result.output
    assert not (tmp_path / "new").exists()


def test_backup_beside_writers(root, tmp_path):
    """Versions registered during a backup are complete in it, or not part of it."""
    folder, stop = folder_of(root), threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            register(folder, tmp_path, f"2.{number}.0", "x" * 100_000)
            folder.stages.set_stage(NAME, f"2.{number}.0", ModelStage.PRODUCTION)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            back_up(settings_of(root), tmp_path / f"{number}.tar")
    finally:
        stop.set()
        writer.join()
    for number in range(3):
        restored = tmp_path / f"restored{number}"
        restore(tmp_path / f"{number}.tar", settings_of(restored))
        assert inspection.verify(folder_of(restored)) == []


def run(command, tmp_path, root, url=None):
    config = tmp_path / "serve_config.yaml"
    config.write_text(
        "applications:\n- name: trading-models\n  import_path: serve_app.app:build\n  args:\n"
        f"    registry_root: {root}\n    versions: [{{model: {NAME}}}]\n"
        + (f"    experiments: {{database_url: '{url}'}}\n" if url else "")
    )
    return CliRunner().invoke(app, [command, str(config), str(tmp_path / "backup.tar")])


def test_commands(root, tmp_path):
    """The commands report what they wrote, and what to do next."""
    written = run("backup", tmp_path, root)
    assert (written.exit_code, written.output.count("MB")) == (0, 1)
    again = run("backup", tmp_path, root)
    assert again.exit_code == 1
    assert "exists already; choose another name" in again.output
    restored = run("restore", tmp_path, tmp_path / "restored")
    assert restored.exit_code == 0
    assert "start the server with: modelctl serve" in restored.output
    assert folder_of(tmp_path / "restored").layout.versions(NAME) == ["1.0.0", "1.1.0"]


def test_registry_without_folder(tmp_path):
    """Nothing to back up is an error, rather than an empty backup."""
    result = run("backup", tmp_path, tmp_path / "nothing")
    assert result.exit_code == 1
    assert "expected the registry of the configuration, found no folder" in result.output
    assert not (tmp_path / "backup.tar").exists()


def bar_settings(root, **bars):
    return [AppSettings(registry_root=str(root), versions=[{"model": NAME}], bars=bars)]


def push(folder, *minutes, price=1.0, url=None):
    time = np.array(minutes) * 60_000
    bars = Bars.of(time, np.full((5, len(time)), price))
    with BarLog(folder, url, limits=Limits(direct_rows=100)) as log:
        log.append("X", Timeframe.parse("1m"), bars, 10**12)


def rows(folder, url=None):
    """Return every row of the log as (time, close, known_at)."""
    reader = BarReader.open(folder, url)
    found = reader.rows("X", Timeframe.parse("1m"), 0, LATEST_MS)
    assert reader.verify() == []
    reader.close()
    return list(
        zip(found.time.tolist(), found.close.tolist(), found.known_at.tolist(), strict=True)
    )


def test_bars(root, tmp_path):
    """The default log comes back with its revisions and its history, and can be written."""
    push(root / ".bars", *range(200))
    push(root / ".bars", 7, 201, price=2.0)
    before = rows(root / ".bars")
    assert len(before) == 202
    with BarLog(root / ".bars"):  # as a server that runs
        back_up(bar_settings(root), tmp_path / "backup.tar")
    restored = tmp_path / "elsewhere" / "models"
    restore(tmp_path / "backup.tar", bar_settings(restored))
    assert rows(restored / ".bars") == before
    push(restored / ".bars", 202)
    assert len(rows(restored / ".bars")) == 203
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_bars_elsewhere(root, tmp_path):
    """A log with a folder and a database of its own is restored to the configured ones."""
    url, after = (f"sqlite:///{tmp_path}/{name}.db" for name in ("before", "after"))
    push(tmp_path / "bars", *range(200), url=url)
    settings = bar_settings(root, folder=str(tmp_path / "bars"), database_url=url)
    back_up(settings, tmp_path / "backup.tar")
    used = bar_settings(tmp_path / "r1", folder=str(tmp_path / "bars"))
    with pytest.raises(InUseError, match="bars"):
        restore(tmp_path / "backup.tar", used)
    other = bar_settings(tmp_path / "r2", folder=str(tmp_path / "a" / "b"), database_url=after)
    restore(tmp_path / "backup.tar", other)
    assert rows(tmp_path / "a" / "b", after) == rows(tmp_path / "bars", url)
    inside = bar_settings(tmp_path / "r3")
    restore(tmp_path / "backup.tar", inside)
    assert rows(tmp_path / "r3" / ".bars") == rows(tmp_path / "bars", url)


def test_used_database_of_bars(root, tmp_path):
    """A restore adds no rows to a database that has a bar log."""
    push(root / ".bars", 1)
    back_up(bar_settings(root), tmp_path / "backup.tar")
    url = f"sqlite:///{tmp_path}/used.db"
    push(tmp_path / "other", 5, url=url)
    with pytest.raises(UsedBarLogError, match="choose other ones"):
        restore(tmp_path / "backup.tar", bar_settings(tmp_path / "new", database_url=url))
    assert not (tmp_path / "new").exists()
    assert len(rows(tmp_path / "other", url)) == 1
