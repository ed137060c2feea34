"""The settings of a version that is added at run time."""

import pytest

from registry import ModelStage
from serve_app.settings import AppSettings, VersionSettings
from serve_app.state.version_settings import settings_for
from testkit.models import metadata


def declared(*versions):
    return AppSettings(
        default_model="toy", versions=[{"model": "toy", **version} for version in versions]
    )


PRODUCTION = {"version": "production", "num_threads": 2, "num_replicas": 3}
STAGING = {"version": "staging", "num_threads": 4}


@pytest.mark.parametrize(
    ("stages", "num_threads", "num_replicas"),
    [(["production"], 2, 3), (["staging"], 4, None), ([], 2, None)],
)
def test_stage_selects_the_settings(stages, num_threads, num_replicas):
    """A version without a stage has those of production, with one replica."""
    found = settings_for(declared(PRODUCTION, STAGING), metadata(version="1.2.0"), stages)
    assert (found.version, found.num_threads) == ("1.2.0", num_threads)
    assert found.num_replicas == num_replicas


def test_declared_number_precedes_the_stage():
    exact = {"version": "1.2.0", "num_threads": 8}
    found = settings_for(declared(PRODUCTION, exact), metadata(version="1.2.0"), ["production"])
    assert found.num_threads == 8


def test_undeclared_model_has_default_settings():
    other = metadata(name="other", version="1.0.0", stage=ModelStage.PRODUCTION)
    found = settings_for(declared(PRODUCTION), other, ["production"])
    assert found == VersionSettings(model="other", version="1.0.0")
