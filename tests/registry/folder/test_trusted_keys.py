"""Signatures that a registry requires: at registration, at stage changes, for derived files."""

import pytest

from registry import ModelStage
from registry.errors import InvalidMetadataError, SignatureError, UnknownModelError
from registry.folder import inspection
from registry.folder.drafts import manifest_of_files
from registry.folder.trusted_keys import read_trusted_keys, write_trusted_keys
from registry.records import Action
from registry.signatures import SigningKey, manifest
from testkit.models import linear_onnx_file

FIELDS = {"model_type": "Linear", "input_shape": (3, 2)}


@pytest.fixture
def key(tmp_path):
    return SigningKey.create(tmp_path / "key.pem")


@pytest.fixture
def trusted(folder, key):
    """Return a registry that requires signatures by `key`."""
    folder.layout.root.mkdir()
    write_trusted_keys(folder.layout, [key.id])
    return folder


@pytest.fixture
def files(tmp_path):
    return {"model.onnx": linear_onnx_file(tmp_path)}


def register(folder, key, files):
    signatures = key.sign(manifest_of_files("m", "1.0.0", files, FIELDS))
    return folder.versions.register("m", "1.0.0", files, {**FIELDS, "signatures": signatures})


def promote(folder):
    folder.stages.set_stage("m", "1.0.0", ModelStage.PRODUCTION)


def test_signed_version(trusted, key, files):
    """A version that is signed before it is registered can be registered and promoted."""
    register(trusted, key, files)
    promote(trusted)
    assert inspection.verify(trusted) == []


def test_unsigned_registration(trusted, files):
    """An unsigned version is not registered."""
    with pytest.raises(SignatureError, match=r"m:1\.0\.0 is not accepted"):
        trusted.versions.register("m", "1.0.0", files, FIELDS)
    with pytest.raises(UnknownModelError):
        trusted.reader.get("m", "1.0.0")


def test_signature_over_other_files(folder, key, files, tmp_path):
    """A signature over other files is rejected even if none is required."""
    other = {"model.onnx": linear_onnx_file(tmp_path, weight=2.0)}
    signatures = key.sign(manifest_of_files("m", "1.0.0", other, FIELDS))
    with pytest.raises(SignatureError, match="not over its files"):
        folder.versions.register("m", "1.0.0", files, {**FIELDS, "signatures": signatures})


def test_later_requirement(folder, key, files):
    """A version that was registered without a signature enters a stage once it is signed."""
    folder.versions.register("m", "1.0.0", files, FIELDS)
    write_trusted_keys(folder.layout, [key.id])
    with pytest.raises(SignatureError):
        promote(folder)
    info = folder.reader.get("m", "1.0.0")
    folder.versions.sign("m", "1.0.0", key.sign(manifest(info.metadata)), {})
    promote(folder)
    actions = [entry.action for entry in folder.reader.history("m")]
    assert actions == [Action.REGISTERED, Action.SIGNED, Action.PROMOTED]


def test_exchanged_metadata(trusted, key, files):
    """A label map that was exchanged in the folder is found at the next stage change."""
    info = register(trusted, key, files)
    swapped = {0: "HOLD", 1: "SELL", 2: "BUY"}
    trusted.reader.files.write(info.metadata.model_copy(update={"label_map": swapped}))
    with pytest.raises(SignatureError, match="not over its files and metadata"):
        promote(trusted)


def test_derived_files(trusted, key, files, tmp_path):
    """A file of an optimisation is recorded as derived, and serves only if it is signed."""
    info = register(trusted, key, files)
    added = {"model_fast.onnx": linear_onnx_file(tmp_path, weight=2.0)}
    with pytest.raises(SignatureError, match=r"derived file model_fast\.onnx"):
        trusted.artifacts.add("m", "1.0.0", added, {}, "model_fast.onnx")
    info = trusted.artifacts.add("m", "1.0.0", added, {}, None)
    assert info.metadata.derived == {"model_fast.onnx": "model.onnx"}
    promote(trusted)
    with pytest.raises(SignatureError, match=r"derived file model_fast\.onnx"):
        trusted.artifacts.pin("m", "1.0.0", "model_fast.onnx")
    signatures = key.sign(manifest(info.metadata, derived=True))
    trusted.versions.sign("m", "1.0.0", {}, signatures)
    trusted.artifacts.pin("m", "1.0.0", "model_fast.onnx")


def test_lifted_requirement(trusted, files):
    """Without keys nothing is required any more."""
    write_trusted_keys(trusted.layout, [])
    assert read_trusted_keys(trusted.layout) == ()
    trusted.versions.register("m", "1.0.0", files, FIELDS)


@pytest.mark.parametrize("content", ["", "[]", "{}", '["alice"]', "no JSON"])
def test_damaged_file(trusted, files, content):
    """A damaged list of keys does not lift the requirement, and can be written again."""
    trusted.layout.trusted_keys().write_text(content)
    with pytest.raises(InvalidMetadataError, match="restart the server"):
        trusted.versions.register("m", "1.0.0", files, FIELDS)
    write_trusted_keys(trusted.layout, [])
    assert read_trusted_keys(trusted.layout) == ()
