"""One unreadable version or model hides no other."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry import errors
from registry.folder import inspection
from registry.folder.registry_folder import RegistryFolder

OTHER_USER = 65534


@pytest.fixture
def folder():
    """A registry with two models of two versions each, which every user may read."""
    base = Path(tempfile.mkdtemp())
    base.chmod(0o755)
    (base / "models").mkdir(mode=0o755)
    (base / "model.pt").write_text("weights")
    folder = RegistryFolder(base / "models", check=lambda *_: None)
    for name in ("a", "b"):
        for version in ("1.0.0", "1.1.0"):
            folder.versions.register(
                name, version, {"model.pt": base / "model.pt"}, {"model_type": "Net"}
            )
    yield folder
    for path in base.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(base)


@contextmanager
def as_reader():
    """Run as a user without privileges: root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(OTHER_USER)
    try:
        yield
    finally:
        os.seteuid(0)


UNREADABLE = {
    "a/v1.0.0/metadata.json": ["a:1.1.0", "b:1.0.0", "b:1.1.0"],
    "a/v1.0.0": ["a:1.1.0", "b:1.0.0", "b:1.1.0"],
    "a": ["b:1.0.0", "b:1.1.0"],
}


@pytest.mark.parametrize("path", UNREADABLE)
def test_unreadable_path_hides_no_other(folder, path):
    """Listing, getting and verifying the rest works; the unreadable one has its own error."""
    (folder.layout.root / path).chmod(0)
    with as_reader():
        listed = [info.metadata for info in folder.reader.list_versions()]
        assert [f"{info.name}:{info.version}" for info in listed] == UNREADABLE[path]
        assert folder.reader.get("b").metadata.version == "1.1.0"
        with pytest.raises(errors.UnreadablePathError, match=rf"cannot read .*{path}.*chmod"):
            folder.reader.get("a", "1.0.0")
        with pytest.raises(errors.UnknownModelError, match="registered models: a, b"):
            folder.reader.get("c")
        found = {finding.path for finding in inspection.verify(folder)}
    assert any(where.startswith(path) for where in found)
    assert not any(where.startswith("b") for where in found)


def test_unreadable_artifact(folder):
    """An artifact that this user may not read is found, and the rest is verified."""
    (folder.layout.root / "a/v1.0.0/model.pt").chmod(0)
    with as_reader():
        with pytest.raises(errors.UnreadablePathError, match="Permission denied"):
            folder.reader.read_artifact("a", "1.0.0", "model.pt")
        (finding,) = inspection.verify(folder)
    assert finding.path == "a/v1.0.0/model.pt"


def test_unreadable_registry(folder):
    """A registry that this user may not read is an error, not an empty registry."""
    folder.layout.root.chmod(0)
    with as_reader(), pytest.raises(errors.UnreadablePathError, match="models"):
        folder.reader.list_versions()


def test_verify_needs_no_write_access(folder):
    """Another user's registry and a read-only copy can be verified; a change names the remedy."""
    (folder.layout.root / "b" / ".lock").unlink()
    for path in [folder.layout.root, *folder.layout.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with as_reader():
        assert inspection.verify(folder) == []
        assert len(folder.reader.history("a")) == 2
        for name in ("a", "b"):
            with pytest.raises(errors.StorageError, match="as the owner of the registry"):
                folder.versions.update_metrics(name, "1.0.0", {"accuracy": 1.0})
