"""Running experiments as the routers see them."""

from datetime import UTC, datetime, timedelta

from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.records import Variant
from serve_app.experiments.running import RunningExperiment

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_switchback_changes_variants_between_blocks():
    """A symbol keeps its variant within a block of time, and both variants receive blocks."""
    definition = ExperimentDefinition(
        experiment_id="old_vs_new",
        control_model_name="toy",
        control_model_version="1.0.0",
        treatment_model_name="toy",
        treatment_model_version="1.1.0",
        control_traffic=0.5,
        treatment_traffic=0.5,
        assignment="switchback",
        switchback_block_s=3600,
        horizon_s=60,
    )
    experiment = RunningExperiment(definition=definition, treatment_share=0.5, exposed_at=NOW)
    within_an_hour = {
        experiment.variant_of(f"id-{minute}", None, "EURUSD", NOW.replace(minute=minute))
        for minute in (5, 25, 55)
    }
    assert len(within_an_hour) == 1
    variants = {
        experiment.variant_of("id", None, "EURUSD", NOW + timedelta(hours=hour))
        for hour in range(50)
    }
    assert variants == {Variant.CONTROL, Variant.TREATMENT}
