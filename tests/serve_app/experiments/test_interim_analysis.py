"""The analysis of a running experiment counts treatment's traffic of the present step."""

from datetime import timedelta

from serve_app.experiments.blocks import Block
from serve_app.experiments.definition import ExperimentStatus
from serve_app.experiments.history import StoredExperiment
from serve_app.experiments.interim_analysis import analyse_interim
from serve_app.experiments.records import Variant
from tests.serve_app.experiments.factories import START, definition, prediction

EXPERIMENT = StoredExperiment(
    definition=definition(),
    status=ExperimentStatus.RUNNING,
    started_at=START,
    ended_at=None,
    end_reason=None,
    final_report=None,
)


def block_of_treatment(seconds, count):
    block = Block(block=EXPERIMENT.clock.block(START + timedelta(seconds=seconds)))
    for _ in range(count):
        block.treatment.add_prediction(prediction(seconds, variant=Variant.TREATMENT))
    return block


def test_only_blocks_of_the_present_step_count():
    """A block that began before the step also holds predictions of the step before."""
    blocks = [block_of_treatment(0.0, 3), block_of_treatment(10.0, 4), block_of_treatment(12.0, 5)]
    exposed_at = START + timedelta(seconds=10.0)
    interim = analyse_interim(EXPERIMENT, blocks, [], exposed_at)
    assert interim.treatment_predictions == 9
    assert interim.analysis.document["treatment"]["samples"] == 12
