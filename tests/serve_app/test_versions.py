"""References to versions."""

import pytest

from serve_app.versions import VersionRef
from testkit.models import metadata


def test_a_reference_names_model_and_version():
    """The reference to a version reads as `model:version`, as log lines and responses show it."""
    ref = VersionRef.of(metadata(name="toy", version="1.0.0"))
    assert ref == VersionRef("toy", "1.0.0")
    assert (str(ref), f"{ref}") == ("toy:1.0.0", "toy:1.0.0")


def test_text_of_a_reference_is_parsed():
    """The text of a reference is parsed into the same reference; other texts are rejected."""
    assert VersionRef.parse("toy:1.0.0") == VersionRef("toy", "1.0.0")
    for text in ("toy", "toy:", ":1.0.0", ""):
        with pytest.raises(ValueError, match="expected model:version"):
            VersionRef.parse(text)
