"""Files that are checked, and packed, before they are copied into the registry."""

import hashlib
import os
import zipfile

import onnx
import pytest

from registry.errors import (
    InvalidNameError,
    MissingArtifactError,
    UnknownModelError,
    UnreadableArtifactError,
)
from registry.folder.drafts import manifest_of_files
from registry.folder.source_files import checked_sources, read_packed
from registry.signatures import manifest
from testkit.models import linear_onnx


@pytest.fixture
def with_reference(tmp_path):
    """Return an ONNX file whose weights are in the file `w` beside it."""
    path = tmp_path / "outside.onnx"
    model = onnx.load_from_string(linear_onnx())
    onnx.save_model(model, path, save_as_external_data=True, location="w", size_threshold=0)
    return path


def check(files, change="register"):
    with checked_sources(files, change) as sources:
        return {artifact: source.read_bytes() for artifact, source in sources.items()}


def test_data_files_are_accepted(tmp_path):
    """Self-contained models and other data are accepted, and copied from where they are."""
    (tmp_path / "model.onnx").write_bytes(linear_onnx())
    (tmp_path / "notes.txt").write_text("location")
    files = {name: tmp_path / name for name in ("model.onnx", "notes.txt")}
    with checked_sources(files, "register") as sources:
        assert sources == files


def test_missing_file(tmp_path):
    """The error of a missing file names its artifact."""
    with pytest.raises(MissingArtifactError, match=r"the file to add as model\.onnx"):
        check({"model.onnx": tmp_path / "missing"}, "add")


def test_invalid_artifact_name(tmp_path):
    """A name that leads out of the version's folder is rejected."""
    with pytest.raises(InvalidNameError, match=r"invalid artifact name '\.\./model\.onnx'"):
        check({"../model.onnx": tmp_path}, "add")


def test_registration_packs(folder, with_reference):
    """A model with its weights beside it is registered as one file, with that file's digest."""
    files, fields = {"model.onnx": with_reference}, {"model_type": "Net"}
    info = folder.versions.register("m", "1.0.0", files, fields)
    content = folder.reader.read_artifact("m", "1.0.0", "model.onnx")
    assert content == read_packed("model.onnx", with_reference)
    assert onnx.load_from_string(content) == onnx.load_from_string(linear_onnx())
    assert info.metadata.artifacts == {"model.onnx": hashlib.sha256(content).hexdigest()}
    assert info.metadata.model_size_mb == len(content) / 1e6
    assert folder.versions.register("m", "1.0.0", files, fields).metadata == info.metadata
    # The author signs the packed file.
    assert manifest_of_files("m", "1.0.0", files, fields) == manifest(info.metadata)


def test_addition_packs(folder, register, with_reference):
    """A model that is added to a version is packed too."""
    register("1.0.0")
    files = {"model_fast.onnx": with_reference}
    folder.artifacts.add("hybrid_cnn_lstm", "1.0.0", files, {}, None)
    content = folder.reader.read_artifact("hybrid_cnn_lstm", "1.0.0", "model_fast.onnx")
    assert onnx.load_from_string(content) == onnx.load_from_string(linear_onnx())


def remove(path, _):
    path.unlink()


def truncate(path, _):
    os.truncate(path, path.stat().st_size - 1)


def link(path, elsewhere):
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def make_folder(path, _):
    path.unlink()
    path.mkdir()


def make_huge(path, _):
    os.truncate(path, 2**33)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (remove, "which cannot be read: No such file"),
        (truncate, r"which has \d+ bytes instead of"),
        (link, "it is a link, or no regular file"),
        (make_folder, "it is a link, or no regular file"),
        (make_huge, "it has 8589934592 bytes, more than 2147483647"),
    ],
)
def test_weights_that_are_not_packed(folder, with_reference, tmp_path, damage, problem):
    """Nothing is registered unless the weights are in a plain file beside the model."""
    damage(with_reference.with_name("w"), tmp_path / "elsewhere")
    with pytest.raises(UnreadableArtifactError, match=f"{problem}.*save_as_external_data=False"):
        folder.versions.register("m", "1.0.0", {"model.onnx": with_reference}, {"model_type": "N"})
    with pytest.raises(UnknownModelError):
        folder.reader.get("m", "1.0.0")


def test_large_pickle(tmp_path):
    """A checkpoint whose pickle is larger than any list of tensors is rejected unread."""
    with zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(UnreadableArtifactError, match=r"data\.pkl has 10000000; save tensors only"):
        check({"model.pt": tmp_path / "model.pt"})
