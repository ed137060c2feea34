"""A registry folder with a clock and a check that tests control."""

from datetime import UTC, datetime, timedelta

import pytest

from registry import ModelStage
from registry.folder.registry_folder import RegistryFolder

NAME = "hybrid_cnn_lstm"


class Clock:
    """Advances by an hour per reading, from a start that tests may set."""

    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        self.now += timedelta(hours=1)
        return self.now


class Check:
    """Accepts every version, unless a test sets another `run`."""

    def __init__(self):
        self.run = lambda metadata, read: None

    def __call__(self, metadata, read):
        self.run(metadata, read)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def check():
    return Check()


@pytest.fixture
def folder(tmp_path, check, clock):
    return RegistryFolder(tmp_path / "models", check, clock)


@pytest.fixture
def register(folder, tmp_path):
    """Return a function that registers versions by number."""

    def run(*versions):
        for version in versions:
            file = tmp_path / f"{version}.pt"
            file.write_text(f"weights of {version}")
            folder.versions.register(
                NAME, version, {"model.pt": file}, {"model_type": "Net"}, by="trainer"
            )

    return run


@pytest.fixture
def promote(folder):
    """Return a function that promotes versions one after the other."""

    def run(*versions):
        for version in versions:
            folder.stages.set_stage(
                NAME, version, ModelStage.PRODUCTION, by="ops", reason=f"promote {version}"
            )

    return run
