"""Files that are rejected before they are copied into the registry."""

import zipfile

import onnx
import pytest

from registry.errors import (
    InvalidNameError,
    MissingArtifactError,
    UnknownModelError,
    UnreadableArtifactError,
)
from registry.folder.source_files import check_sources
from testkit.models import linear_onnx


@pytest.fixture
def with_reference(tmp_path):
    """Return an ONNX file whose weights are in another file."""
    path = tmp_path / "outside.onnx"
    model = onnx.load_from_string(linear_onnx())
    onnx.save_model(model, path, save_as_external_data=True, location="w", size_threshold=0)
    return path


def test_data_files_are_accepted(tmp_path):
    """Self-contained models and other data are accepted."""
    (tmp_path / "model.onnx").write_bytes(linear_onnx())
    (tmp_path / "notes.txt").write_text("location")
    check_sources({name: tmp_path / name for name in ("model.onnx", "notes.txt")}, "register")


def test_missing_file(tmp_path):
    """The error of a missing file names its artifact."""
    with pytest.raises(MissingArtifactError, match=r"the file to add as model\.onnx"):
        check_sources({"model.onnx": tmp_path / "missing"}, "add")


def test_invalid_artifact_name(tmp_path):
    """A name that leads out of the version's folder is rejected."""
    with pytest.raises(InvalidNameError, match=r"invalid artifact name '\.\./model\.onnx'"):
        check_sources({"../model.onnx": tmp_path}, "add")


def test_external_weights_are_not_registered(folder, with_reference):
    """A version with an ONNX file that refers to another file is not registered."""
    files = {"model.onnx": with_reference}
    with pytest.raises(UnreadableArtifactError, match="are in another file"):
        folder.versions.register("m", "1.0.0", files, {"model_type": "Net"})
    with pytest.raises(UnknownModelError):
        folder.reader.get("m", "1.0.0")


def test_external_weights_are_not_added(folder, register, with_reference):
    """An ONNX file that refers to another file is not added to a version."""
    register("1.0.0")
    files = {"model_fast.onnx": with_reference}
    with pytest.raises(UnreadableArtifactError, match="are in another file"):
        folder.artifacts.add("hybrid_cnn_lstm", "1.0.0", files, {}, None)
    assert list(folder.reader.get("hybrid_cnn_lstm", "1.0.0").metadata.artifacts) == ["model.pt"]


def test_large_pickle(tmp_path):
    """A checkpoint whose pickle is larger than any list of tensors is rejected unread."""
    with zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(UnreadableArtifactError, match=r"data\.pkl has 10000000; save tensors only"):
        check_sources({"model.pt": tmp_path / "model.pt"}, "register")
