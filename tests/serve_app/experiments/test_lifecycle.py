"""A new experiment is validated against its own fields and its variants' metadata."""

import math

import pytest

from serve_app.errors import InvalidRequestError
from serve_app.experiments.lifecycle import check_new, check_variants, with_dead_band
from testkit.models import metadata
from tests.serve_app.experiments.factories import definition


def variants(*dead_bands, **treatment):
    """Return the metadata of control and treatment, which declare these dead bands."""
    found = [metadata(version="1.0.0"), metadata(version="1.1.0").model_copy(update=treatment)]
    for index, value in enumerate(dead_bands):
        found[index] = found[index].model_copy(update={"dataset_info": {"dead_band": value}})
    return found


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"auto_apply": True}, "horizon_s"),
        ({"duration_hours": 1, "horizon_s": 3600}, "horizon_s"),
        ({"duration_hours": 1e300}, "duration_hours"),
    ],
)
def test_no_possible_verdict(fields, field):
    """A definition that cannot lead to a verdict is rejected, and the error names the field."""
    with pytest.raises(InvalidRequestError, match=f"{field}: expected"):
        check_new(definition(**fields))


def test_different_input_shapes():
    """Variants with different input shapes cannot serve the same requests."""
    with pytest.raises(InvalidRequestError, match="treatment_model_version: expected"):
        check_variants(definition(), *variants(input_shape=(5, 2)))


def test_automatic_promotion_across_models():
    """`auto_apply` requires two versions of one model."""
    made = definition(auto_apply=True, horizon_s=60, treatment_model_name="other")
    with pytest.raises(InvalidRequestError, match="auto_apply: expected two versions"):
        check_variants(made, *variants())
    check_variants(definition(treatment_model_name="other"), *variants())


def test_declared_dead_band():
    """The models' declared dead band is used unless the definition states one."""
    assert with_dead_band(definition(), *variants(0.001, 0.001)).dead_band == 0.001
    assert with_dead_band(definition(dead_band=0.0), *variants(0.001, 0.001)).dead_band == 0.0
    assert with_dead_band(definition(), *variants()).dead_band == 0.0


@pytest.mark.parametrize("declared", [(0.001, 0.002), (math.nan, math.nan), (True, True), (-1, -1)])
def test_conflicting_dead_bands(declared):
    """Different or invalid declared dead bands are rejected unless the definition states one."""
    with pytest.raises(InvalidRequestError, match="dead_band: expected to be stated, or"):
        with_dead_band(definition(), *variants(*declared))
    assert with_dead_band(definition(dead_band=0.5), *variants(*declared)).dead_band == 0.5
