"""The version that serves a request."""

import pytest

from registry import ModelStage
from serve_app.errors import NotServedError
from serve_app.state.routing import RoutingTable
from testkit.models import metadata

OLD = metadata(version="1.0.0", stage=ModelStage.PRODUCTION)
NEW = metadata(version="1.1.0", stage=ModelStage.STAGING)
OTHER = metadata(name="other", version="1.0.0", stage=ModelStage.NONE)
STAGES = {"toy": {"production": "1.0.0", "staging": "1.1.0"}}
TABLE = RoutingTable(default_model="toy", versions=[OLD, NEW, OTHER], stages=STAGES)


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
def test_named_version_serves_else_production(model, reference, expected):
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
def test_unserved_version_is_never_replaced(model, reference):
    """A request for it is an error that lists what is served."""
    with pytest.raises(NotServedError, match=r"served: toy:1\.0\.0, toy:1\.1\.0, other:1\.0\.0"):
        TABLE.choose(model, reference)


def test_stage_is_the_one_served_here():
    """A stage that the registry has moved since does not count before the reload."""
    promoted = metadata(version="1.1.0", stage=ModelStage.PRODUCTION)
    table = RoutingTable(default_model="toy", versions=[OLD, promoted, OTHER], stages=STAGES)
    assert table.stage_of(promoted) is ModelStage.STAGING
    assert table.stage_of(OLD) is ModelStage.PRODUCTION
    assert table.stage_of(OTHER) is ModelStage.NONE
    without_stages = RoutingTable(default_model="toy", versions=[promoted])
    assert without_stages.stage_of(promoted) is ModelStage.NONE
    archived = metadata(version="0.9.0", stage=ModelStage.ARCHIVED)
    assert table.stage_of(archived) is ModelStage.ARCHIVED
