"""`modelctl key` and `modelctl sign`, and the options that sign new files."""

import json

import pytest

from registry.folder.trusted_keys import write_trusted_keys
from registry.layout import Layout


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "key.pem"


@pytest.fixture
def key_id(modelctl, key_file):
    created = modelctl("key", "create", key_file)
    assert created.exit_code == 0
    return created.stdout.strip()


def test_key(modelctl, key_file, key_id):
    """A created key has an id, which is shown again; its file is not overwritten."""
    assert key_id.startswith("ed25519:")
    assert modelctl("key", "show", key_file).stdout.strip() == key_id
    again = modelctl("key", "create", key_file)
    assert again.exit_code == 1
    assert "File exists" in again.stderr


def test_register_signed(register, modelctl, root, key_file, key_id):
    """A version signed on registration passes where a signature is required; another does not."""
    root.mkdir()
    write_trusted_keys(Layout(root), [key_id])
    rejected = register("1.0.0")
    assert rejected.exit_code == 1
    assert f"expected a signature by {key_id}" in rejected.stderr
    signed = register("1.0.0", "--sign-with", str(key_file))
    assert signed.exit_code == 0, signed.stderr
    assert modelctl("promote", "m", "1.0.0").exit_code == 0


def test_sign(register, modelctl, root, key_file, key_id):
    """A published version is signed afterwards; the command prints what was signed."""
    register("1.0.0")
    write_trusted_keys(Layout(root), [key_id])
    assert modelctl("promote", "m", "1.0.0").exit_code == 1
    signed = modelctl("sign", "m", "1.0.0", "--key", key_file)
    assert signed.exit_code == 0, signed.stderr
    metadata = json.loads(modelctl("show", "m", "1.0.0", "--json").stdout)
    assert f"{metadata['artifacts']['model.onnx']}  model.onnx" in signed.stdout
    assert modelctl("promote", "m", "1.0.0").exit_code == 0


def test_missing_key(register, key_file):
    """The error of a missing key names its file."""
    rejected = register("1.0.0", "--sign-with", str(key_file))
    assert rejected.exit_code == 1
    assert "key.pem as a signing key" in rejected.stderr
