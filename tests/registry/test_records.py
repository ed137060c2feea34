"""Valid names, versions, references and metadata."""

import json
from itertools import pairwise

import pytest
from pydantic import ValidationError

from registry.errors import InvalidNameError
from registry.records import (
    HistoryEntry,
    ModelMetadata,
    check_artifact_name,
    check_model_name,
    check_reference,
    check_version,
    precedence,
)
from testkit.models import metadata


@pytest.mark.parametrize("name", ["hybrid_cnn_lstm", "a", "Model-2", "9lives"])
def test_valid_model_names(name):
    """Letters, digits, hyphens and underscores form a model name."""
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
def test_invalid_model_names(name):
    """Paths, hidden files and control characters cannot name a model."""
    with pytest.raises(InvalidNameError, match="expected 1 to 64 letters"):
        check_model_name(name)


@pytest.mark.parametrize("name", ["metadata.json", "../model.pt", "a/b", ".x", ""])
def test_invalid_artifact_names(name):
    """Paths, hidden files and reserved names cannot name artifacts."""
    with pytest.raises(InvalidNameError):
        check_artifact_name(name)


@pytest.mark.parametrize("version", ["1.0.0", "1.10.0", "2.0.0-rc.1", "1.0.0+build.5"])
def test_valid_versions(version):
    """Semantic versions are accepted, with pre-release and build."""
    assert check_version(version) == version


@pytest.mark.parametrize(
    "version", ["1", "v1.0.0", "1.0", "01.0.0", "latest", "../1.0.0", 1.0, None]
)
def test_invalid_versions(version):
    """Text that is not a semantic version is rejected."""
    with pytest.raises(InvalidNameError, match="semantic version"):
        check_version(version)


def test_precedence():
    """Precedence is that of semver.org 2.0.0, item 11, with 1.9.0 before 1.10.0."""
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


def test_reference():
    """A reference is a version or the name of a stage."""
    references = ["1.0.0", "production", "staging"]
    assert [check_reference(reference) for reference in references] == references
    with pytest.raises(InvalidNameError, match="production or staging"):
        check_reference("Production!")


@pytest.mark.parametrize(
    "fields",
    [
        {"label_map": {0: "BUY"}},
        {"label_map": {0: "BUY", 1: "BUY"}},
        {"label_map": {0: "UP", 1: "DOWN"}},
        {"label_map": {1: "SELL", 2: "BUY"}},
        {"output_names": {"expected_return": "y"}},
        {"output_names": {"expected_return": "y"}, "dataset_info": {"dead_band": 0}},
        {"output_names": {"expected_return": "y"}, "dataset_info": {"dead_band": "0.1"}},
        {"label_map": {0: "HOLD", 1: "BUY", 2: "BUY"}},
        {"label_map": {1: "HOLD", 2: "BUY", 3: "SELL"}},
        {"input_shape": ()},
        {"input_shape": (2, 3, 4)},
        {"dataset_info": {"missing_values": "yes"}},
        {"input_shape": (0, 110)},
        {"schema_version": 2},
        {"metrics": {"accuracy": "high"}},
        {"surprise": 1},
    ],
)
def test_invalid_metadata(fields):
    """Metadata that does not conform to the schema is rejected."""
    with pytest.raises(ValidationError):
        metadata(**fields)


def test_metadata_without_later_fields():
    """Metadata and history written before optimisation existed can be read."""
    document = json.loads(metadata().model_dump_json())
    del document["serving_artifact"], document["optimization"]
    assert ModelMetadata.model_validate(document) == metadata()
    line = {
        "id": "1",
        "time": "2026-01-02T00:00:00Z",
        "action": "promoted",
        "version": "1.0.0",
        "from_stage": "None",
        "to_stage": "Production",
        "by": "ops",
    }
    assert HistoryEntry.model_validate(line).added == ()


def test_two_classes():
    """Two classes may have any two different directions."""
    of = metadata(label_map={0: "SELL", 1: "BUY"})
    assert of.output_widths == {"direction_logits": 2, "confidence": 1, "expected_return": 1}


def test_regressor_with_a_dead_band():
    """A model without an output for the direction declares its dead band."""
    of = metadata(output_names={"expected_return": "y"}, dataset_info={"dead_band": 0.002})
    assert (of.is_regressor, of.dead_band) == (True, 0.002)
    assert not metadata().is_regressor


def test_quantiles_of_a_regressor():
    """The levels of quantiles are declared with one output, and follow from separate ones."""
    info = {"dead_band": 0.002, "quantile_levels": [0.1, 0.5, 0.9]}
    of = metadata(output_names={"return_quantiles": "y"}, dataset_info=info)
    assert (of.is_regressor, of.output_widths) == (True, {"return_quantiles": 3})
    names = {"return_quantile_0.9": "b", "expected_return": "m", "return_quantile_0.1": "a"}
    separate = metadata(output_names=names, dataset_info={"dead_band": 0.002})
    assert separate.quantile_levels == of.quantile_levels == (0.1, 0.5, 0.9)
    assert set(separate.output_widths.values()) == {1}
    with pytest.raises(ValidationError, match="dataset_info: expected quantile_levels"):
        metadata(output_names={"return_quantiles": "y"}, dataset_info={"dead_band": 0.002})
    with pytest.raises(ValidationError, match="expected dead_band"):
        metadata(output_names={"return_quantiles": "y"}, dataset_info={"quantile_levels": [0.5]})


def test_flat_rows_and_missing_values():
    """Flat rows are windows of one timestep, and NaN is accepted where it is declared."""
    assert metadata(input_shape=(40,)).input_shape == (1, 40)
    assert metadata(dataset_info={"missing_values": True}).accepts_missing
    assert not metadata().accepts_missing
