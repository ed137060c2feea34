"""Versions that a configuration declares and that cannot be served."""

import pytest

from registry.errors import (
    ChangedFeatureSetError,
    InvalidMetadataError,
    MissingFeatureSetError,
    MissingReferenceError,
    UnreadablePathError,
)
from serve_app.control_plane.resolution import resolve
from serve_app.errors import UnusableVersionError
from serve_app.settings import AppSettings
from testkit.models import metadata
from tests.serve_app.control_plane.world import NAME, World, settle, staged_world

VERIFIED = ("direction_logits", "confidence", "expected_return")
REQUIRED = AppSettings.model_validate(
    {"versions": [{"model": NAME, "version": "1.0.0"}], "require_reference_outputs": True}
)


def world_with(**fields):
    world = World()
    world.versions["1.0.0"] = metadata(**fields)
    return world


async def test_required_reference_outputs():
    """The error names the version and the remedy."""
    with pytest.raises(MissingReferenceError, match=r"toy:1.0.0 .* modelctl convert"):
        await resolve(REQUIRED, world_with())
    declaration = await resolve(REQUIRED, world_with(reference_outputs=VERIFIED))
    assert [version.ref.version for version in declaration.versions] == ["1.0.0"]


class Readable:
    """A catalogue of several models, of which some cannot be read."""

    def __init__(self, errors):
        self.errors = errors

    async def find(self, model, reference):
        if model in self.errors:
            raise self.errors[model]
        return metadata(name=model)


UNSERVABLE = {
    "a": UnreadablePathError("a/v1.0.0/metadata.json", "Permission denied", 5009, 0),
    "b": InvalidMetadataError("b/v1.0.0/metadata.json", "the file is missing"),
    "d": MissingFeatureSetError("d", "1.0.0", "acme 1", "it is not installed"),
    "e": ChangedFeatureSetError("e", "1.0.0", "acme 1", "0" * 64, "1" * 64),
}


async def test_unservable_version_hides_no_other(caplog):
    """A version that cannot be served is left out with an error; alone, it is the reason."""
    settings = AppSettings.model_validate(
        {"versions": [{"model": name} for name in "abcde"], "default_model": "c"}
    )
    declaration = await resolve(settings, Readable(UNSERVABLE))
    assert [version.ref.model for version in declaration.versions] == ["c"]
    assert "a:production is left out: cannot read a/v1.0.0/metadata.json" in caplog.text
    assert "accept the installed one with modelctl features accept e 1.0.0" in caplog.text
    alone = AppSettings.model_validate({"versions": [{"model": "a"}]})
    with pytest.raises(UnreadablePathError, match="Permission denied"):
        await resolve(alone, Readable(UNSERVABLE))


async def test_reload_requires_reference_outputs():
    """A reload of a version without them is rejected, and the former one stays in service."""
    world = staged_world()
    for number in ("1.0.0", "1.1.0"):
        changed = {"reference_outputs": VERIFIED}
        world.versions[number] = world.versions[number].model_copy(update=changed)
    fleet = world.fleet()
    await fleet.start(REQUIRED)
    await settle(fleet, world)
    with pytest.raises(UnusableVersionError, match="no reference outputs"):
        await fleet.reload(NAME, "1.2.0")
    assert world.serving() == "1.0.0"
