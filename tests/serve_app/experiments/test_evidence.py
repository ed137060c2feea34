"""The evidence of an experiment survives its conversion to JSON and back."""

import orjson
import pytest

from serve_app.experiments.evidence import ExperimentEvidence
from serve_app.experiments.units import UnitTotals
from tests.serve_app.experiments.report_evidence import evidence

UNITS = UnitTotals(seen=[1, 0], first_seen={0.1: [1, 0]})


@pytest.mark.parametrize("units", [None, UNITS])
@pytest.mark.parametrize("ended", [False, True])
def test_json_round_trip(ended, units):
    """Evidence is equal after its conversion to JSON and back, running or ended."""
    before = evidence(ended, units)
    again = ExperimentEvidence.from_document(orjson.loads(orjson.dumps(before.to_document())))
    assert again == before
