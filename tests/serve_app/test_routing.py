"""Which version answers."""

import pytest

from registry import ModelStage
from serve_app.errors import NotServedError
from serve_app.routing import RoutingTable
from tests.factories import metadata

OLD = metadata(version="1.0.0", stage=ModelStage.PRODUCTION)
NEW = metadata(version="1.1.0", stage=ModelStage.STAGING)
OTHER = metadata(name="other", version="1.0.0", stage=ModelStage.NONE)
TABLE = RoutingTable("toy", [OLD, NEW, OTHER])


@pytest.mark.parametrize(
    ("model", "reference", "expected"),
    [
        (None, None, OLD),
        ("toy", None, OLD),
        (None, "production", OLD),
        (None, "staging", NEW),
        (None, "1.1.0", NEW),
        ("toy", "1.0.0", OLD),
        ("other", "1.0.0", OTHER),
    ],
)
def test_the_named_version_answers_and_by_default_production(model, reference, expected):
    assert TABLE.choose(model, reference) is expected


@pytest.mark.parametrize(
    ("model", "reference"),
    [
        ("toy", "1.2.0"),
        ("toy", ""),
        ("toy", "Production"),
        ("absent", None),
        ("other", None),
        ("other", "1.1.0"),
    ],
)
def test_no_other_version_stands_in_for_one_that_is_not_served(model, reference):
    with pytest.raises(NotServedError, match=r"served: toy:1\.0\.0, toy:1\.1\.0, other:1\.0\.0"):
        TABLE.choose(model, reference)
