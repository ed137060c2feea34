"""The definition of an experiment is validated, and errors state the reason."""

import pytest
from pydantic import ValidationError

from serve_app.experiments.definition import Assignment, ExperimentDefinition, Mode
from tests.serve_app.experiments.factories import definition


def test_defaults():
    """The defaults are those of the API contract."""
    made = definition()
    assert (made.control_traffic, made.treatment_traffic) == (0.9, 0.1)
    assert (made.duration_hours, made.min_samples) == (24, 100)
    assert (made.min_accuracy_improvement, made.max_latency_degradation_ms) == (0.02, 2.0)
    assert (made.confidence_level, made.auto_apply) == (0.95, False)
    assert (made.assignment, made.mode) == (Assignment.REQUEST, Mode.SPLIT)
    assert made.hashed_salt == "v1_vs_v2"
    assert made.alpha == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"control_traffic": 0.8}, "sum to 0.9, expected 1"),
        ({"control_traffic": 1.2, "treatment_traffic": -0.2}, "less than or equal to 1"),
        ({"control_traffic": float("nan")}, "finite"),
        ({"treatment_model_version": "1.0.0"}, "expected two different versions"),
        ({"treatment_model_version": "production"}, "semantic version"),
        ({"control_model_name": "../etc"}, "model name"),
        ({"experiment_id": "a b"}, "match pattern"),
        ({"experiment_id": "v1\n"}, "match pattern"),
        ({"duration_hours": 0}, "greater than 0"),
        ({"min_samples": 0}, "greater than 0"),
        ({"confidence_level": 1.0}, "less than 1"),
        ({"assignment": "coin"}, "'request', 'unit_id', 'symbol' or 'switchback'"),
        ({"assignment": "switchback"}, "needs switchback_block_s"),
        ({"switchback_block_s": 60}, "expected switchback"),
        (
            {"assignment": "switchback", "switchback_block_s": 60, "horizon_s": 300},
            "at least the horizon",
        ),
        ({"mode": "mirror", "assignment": "symbol"}, "both variants receive every request"),
        ({"mode": "mirror", "exposure_steps": (0.1,)}, "cannot be combined with mode mirror"),
        ({"exposure_steps": (0.05, 0.01)}, "each larger than the last"),
        ({"exposure_steps": (0.0, 0.1)}, "above 0"),
        ({"exposure_steps": (0.01, 0.05)}, "expected treatment_traffic, 0.1"),
        ({"control_trafic": 0.9}, "Extra inputs"),
    ],
)
def test_invalid_definition(changes, reason):
    """An invalid definition is rejected, and the error states the expected value."""
    with pytest.raises(ValidationError, match=reason):
        definition(**changes)


def test_json_round_trip():
    """A definition is equal after its conversion to JSON and back."""
    made = definition(
        exposure_steps=(0.01, 0.05, 0.1), horizon_s=3600, assignment="unit_id", salt="s"
    )
    assert ExperimentDefinition.model_validate_json(made.model_dump_json()) == made


def test_annual_periods():
    """The number of periods per year follows from the horizon, unless it is stated."""
    assert definition().annual_periods is None
    assert definition(horizon_s=3600).annual_periods == pytest.approx(8766)
    assert definition(horizon_s=3600, periods_per_year=6225).annual_periods == 6225


@pytest.mark.parametrize(
    "extreme",
    [
        {"assignment": "switchback", "switchback_block_s": 1e-300},
        {"horizon_s": 1e-9},
        {"min_accuracy_improvement": 1e300},
        {"min_samples": 10**30},
        {"dead_band": 1e300},
        {"max_error_rate_ratio": 1e300},
        {"periods_per_year": 1e300},
        {"salt": "a\0b"},
    ],
)
def test_extremes_are_rejected(extreme):
    """Values on which an analysis or a database would fail are rejected at the start."""
    with pytest.raises(ValidationError):
        definition(**extreme)
