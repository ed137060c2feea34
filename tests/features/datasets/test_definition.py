"""The definition of a dataset."""

import pytest

from features import Symbol
from features.datasets.definition import DatasetDefinition
from features.datasets.errors import InvalidDefinitionError
from features.labels import LabelRule

EURUSD = Symbol("EURUSD")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"symbols": ()}, "at least one symbol, each once as symbols, received none"),
        ({"symbols": (EURUSD, EURUSD)}, "received EURUSD, EURUSD"),
        ({"timesteps": 0}, "at least 1 as timesteps, received 0"),
        ({"first_ms": 5, "last_ms": 4}, "a first bar up to the last one as range"),
    ],
)
def test_invalid(fields, problem):
    """A definition that no dataset can have is rejected with the field."""
    settings = {"symbols": (EURUSD,), "rule": LabelRule(4, 0.1), "as_of_ms": 0, **fields}
    with pytest.raises(InvalidDefinitionError, match=problem):
        DatasetDefinition(**settings)
