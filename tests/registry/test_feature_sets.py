"""The record of a feature set in the metadata, and its replacement."""

import json

import pytest
from pydantic import ValidationError

from registry import ModelRegistry, errors
from registry.folder.trusted_keys import write_trusted_keys
from registry.layout import Layout
from registry.signatures import SigningKey, manifest
from testkit.feature_sets import record
from testkit.models import metadata


@pytest.fixture
def registry(tmp_path):
    """A registry that loads nothing before a stage change."""
    return ModelRegistry(tmp_path / "models", check=lambda *_: None)


@pytest.fixture
def register(registry, tmp_path):
    """Return a function that registers a version of the model `m`."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")

    async def run(feature_set, **fields):
        settings = {"input_shape": (3, 2), "feature_set": feature_set, **fields}
        return await registry.register_model("m", "1.0.0", path, "Net", **settings)

    return run


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": "x"},
        {"name": ""},
        {"feature_names": ()},
        {"feature_names": ("volume", "volume")},
        {"checked_on": ""},
    ],
)
def test_invalid(wrong):
    """A record names its features, its digest and the bars of its check."""
    with pytest.raises(ValidationError):
        record(**wrong)


def test_features():
    """A model takes as many features as its feature set has."""
    assert metadata(feature_set=record()).feature_set == record()
    with pytest.raises(ValidationError, match="a model of 3 features, as many as toy 1 has"):
        metadata(feature_set=record(feature_names=("a", "b", "c")))


async def test_registered(registry, register, tmp_path):
    """A registration records the feature set; the same one again changes nothing."""
    await register(record())
    assert (await registry.get_model_metadata("m", "1.0.0")).feature_set == record()
    stored = json.loads((tmp_path / "models/m/v1.0.0/metadata.json").read_text())
    assert stored["feature_set"]["name"] == "toy"
    again = await register(record(checked_on="other bars"))
    assert again.metadata.feature_set == record()


@pytest.mark.parametrize("other", [None, record(sha256="1" * 64), record(version="2")])
async def test_other(register, other):
    """A published version cannot be registered with another feature set."""
    await register(record())
    with pytest.raises(errors.VersionExistsError, match="published feature_set=toy 1, sha256 0000"):
        await register(other)


async def test_accepted(registry, register):
    """Another source is accepted by a change that the history records."""
    await register(record())
    accepted = record(sha256="1" * 64)
    assert await registry.accept_feature_set("m", "1.0.0", accepted, by="olga", reason="docs")
    assert (await registry.get_model_metadata("m", "1.0.0")).feature_set == accepted
    entry = (await registry.history("m"))[-1]
    assert (entry.action, entry.by, entry.reason) == ("feature set accepted", "olga", "docs")
    with pytest.raises(errors.InvalidMetadataError, match="a model of 1 features"):
        await registry.accept_feature_set("m", "1.0.0", record(feature_names=("change",)))
    assert await registry.verify() == []


async def test_accepted_signed(registry, register, tmp_path):
    """Where signatures are required, a change of the feature set requires a new one."""
    info = await register(record())
    key = SigningKey.create(tmp_path / "key.pem")
    await registry.sign_version("m", "1.0.0", key.sign(manifest(info.metadata)))
    write_trusted_keys(Layout(tmp_path / "models"), [key.id])
    accepted = record(sha256="1" * 64)
    with pytest.raises(errors.SignatureError, match="signatures by no key"):
        await registry.accept_feature_set("m", "1.0.0", accepted)
    stale = (await registry.get_model_metadata("m", "1.0.0")).signatures
    with pytest.raises(errors.SignatureError, match="not over its files and metadata"):
        await registry.accept_feature_set("m", "1.0.0", accepted, stale)
    changed = info.metadata.model_copy(update={"feature_set": accepted})
    await registry.accept_feature_set("m", "1.0.0", accepted, key.sign(manifest(changed)))
    await registry.promote_to_production("m", "1.0.0")
