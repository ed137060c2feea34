"""Metadata as trainers pass it: converted to JSON, or rejected by the name of its key."""

import enum
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from registry.errors import InvalidMetadataError
from registry.folder.json_values import with_json_values


class Kind(enum.Enum):
    LONG = "long"


class Level(enum.IntEnum):
    HIGH = 2


LOOP = {}
LOOP["again"] = LOOP


@pytest.mark.parametrize(
    ("value", "converted"),
    [
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.longdouble(0.5), 0.5),
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.bool_(True), True),
        (np.str_("adam"), "adam"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(3.5), 3.5),
        (np.array(["2025-01-02"], "M8[D]"), ["2025-01-02"]),
        ((1, (2, np.int8(3))), [1, [2, 3]]),
        (range(3), [0, 1, 2]),
        (date(2025, 1, 2), "2025-01-02"),
        (datetime(2025, 1, 2, 3, tzinfo=UTC), "2025-01-02T03:00:00+00:00"),
        (np.datetime64("2025-01-02T03:04"), "2025-01-02T03:04"),
        (Decimal("0.1"), 0.1),
        (Decimal(3), 3.0),
        (Path("data") / "bars.parquet", "data/bars.parquet"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Kind.LONG, "long"),
        (Level.HIGH, 2),
        ({"a": {"b": np.int64(1)}}, {"a": {"b": 1}}),
        (None, None),
    ],
)
def test_converted(value, converted):
    """Each has the type that JSON reads back, so that the stored value equals it."""
    received = with_json_values({"dataset_info": {"x": value}})["dataset_info"]["x"]
    assert (received, type(received)) == (converted, type(converted))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "x: expected a finite number, received nan"),
        (np.float32("inf"), "x: expected a finite number, received inf"),
        (Decimal("NaN"), "x: expected a finite number, received NaN"),
        ([1.0, {"loss": float("-inf")}], r"x\.1\.loss: expected a finite number, received -inf"),
        (np.array([1.0, np.nan]), r"x\.1: expected a finite number"),
        (Decimal("0.1000000000000000000001"), "x: .* which a number of JSON rounds; pass a text"),
        (np.datetime64("NaT"), "x: .* type datetime64"),
        (np.ma.masked_all(2), "x: .* an array of MaskedArray"),
        (1j, "x: .* type complex"),
        ({1, 2}, "x: .* type set"),
        (b"raw", "x: .* type bytes"),
        (timedelta(hours=1), "x: .* type timedelta"),
        (print, "x: .* type builtin_function_or_method"),
        ({1: "a"}, "x: .* the key 1 of type int; keys are texts"),
        ("\ud800", r"x: .* the text '\\ud800', which UTF-8 cannot encode"),
        (LOOP, "at most 50 levels"),
    ],
)
def test_rejected(value, problem):
    """The error names the key."""
    with pytest.raises(ValueError, match=rf"^dataset_info\.{problem}|{problem}"):
        with_json_values({"dataset_info": {"x": value}})


def test_registered_values(folder, tmp_path):
    """A registration stores them, and an identical one is accepted as the same version."""
    file = tmp_path / "net.pt"
    file.write_text("weights")
    fields = {
        "model_type": "Net",
        "metrics": {"f1": np.float32(0.5)},
        "training_params": {"betas": (0.9, 0.999), "data": tmp_path},
        "input_shape": (np.int64(60), np.int64(110)),
    }
    for _ in range(2):
        folder.versions.register("net", "1.0.0", {"model.pt": file}, fields)
    stored = folder.reader.get("net", "1.0.0").metadata
    assert stored.training_params == {"betas": [0.9, 0.999], "data": str(tmp_path)}
    assert (stored.metrics, stored.input_shape) == ({"f1": 0.5}, (60, 110))


def test_error_of_a_registration_names_the_key(folder, tmp_path):
    """NaN, which JSON turns into null, is rejected before anything is written."""
    file = tmp_path / "net.pt"
    file.write_text("weights")
    fields = {"model_type": "Net", "training_params": {"optimiser": {"loss": float("nan")}}}
    with pytest.raises(InvalidMetadataError, match=r"training_params\.optimiser\.loss: expected"):
        folder.versions.register("net", "1.0.0", {"model.pt": file}, fields)
    assert not folder.layout.version("net", "1.0.0").exists()
