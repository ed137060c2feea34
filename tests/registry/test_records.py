"""Names, versions and metadata that the registry accepts."""

from itertools import pairwise

import pytest
from pydantic import ValidationError

from registry.errors import InvalidNameError
from registry.records import (
    check_artifact_name,
    check_model_name,
    check_reference,
    check_version,
    precedence,
)
from testkit.models import metadata


@pytest.mark.parametrize("name", ["hybrid_cnn_lstm", "a", "Model-2", "9lives"])
def test_plain_model_names_are_accepted(name):
    assert check_model_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc",
        "a\x00",
        "a b",
        ".hidden",
        "ä",
        "x" * 65,
        "a\n",
        None,
        3,
    ],
)
def test_hostile_model_names_are_refused(name):
    with pytest.raises(InvalidNameError, match="expected 1 to 64 letters"):
        check_model_name(name)


@pytest.mark.parametrize("name", ["metadata.json", "../model.pt", "a/b", ".x", ""])
def test_hostile_artifact_names_are_refused(name):
    with pytest.raises(InvalidNameError):
        check_artifact_name(name)


@pytest.mark.parametrize("version", ["1.0.0", "1.10.0", "2.0.0-rc.1", "1.0.0+build.5"])
def test_semantic_versions_are_accepted(version):
    assert check_version(version) == version


@pytest.mark.parametrize(
    "version", ["1", "v1.0.0", "1.0", "01.0.0", "latest", "../1.0.0", 1.0, None]
)
def test_anything_else_is_no_version(version):
    with pytest.raises(InvalidNameError, match="semantic version"):
        check_version(version)


def test_precedence_follows_the_semantic_versioning_spec():
    """The order given in semver.org 2.0.0, item 11, with 1.9.0 before 1.10.0."""
    ordered = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.9.0",
        "1.10.0",
    ]
    assert all(precedence(lower) < precedence(higher) for lower, higher in pairwise(ordered))


def test_a_reference_is_a_version_or_a_stage():
    assert [check_reference(each) for each in ("1.0.0", "production", "staging")] == [
        "1.0.0",
        "production",
        "staging",
    ]
    with pytest.raises(InvalidNameError, match="production or staging"):
        check_reference("Production!")


@pytest.mark.parametrize(
    "fields",
    [
        {"label_map": {0: "HOLD", 1: "BUY"}},
        {"label_map": {0: "HOLD", 1: "BUY", 2: "BUY"}},
        {"label_map": {1: "HOLD", 2: "BUY", 3: "SELL"}},
        {"input_shape": (6600,)},
        {"input_shape": (0, 110)},
        {"schema_version": 2},
        {"metrics": {"accuracy": "high"}},
        {"surprise": 1},
    ],
)
def test_metadata_outside_the_schema_is_refused(fields):
    with pytest.raises(ValidationError):
        metadata(**fields)
