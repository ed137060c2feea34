"""Quantiles of the return, in one output or in several, become the same prediction."""

import numpy as np
import pytest

from serve_app.data_plane.decoding import Failure
from serve_app.data_plane.regression import decoder_of
from testkit.models import metadata

VALUES = np.array([[-0.01, 0.003, 0.02], [-0.02, -0.001, 0.0], [0.01, -0.003, -0.02]])
IN_ONE = metadata(
    output_names={"return_quantiles": "y"},
    dataset_info={"dead_band": 0.002, "quantile_levels": [0.1, 0.5, 0.9]},
)
SEPARATE = metadata(
    output_names={
        "return_quantile_0.9": "q90",
        "expected_return": "q50",
        "return_quantile_0.1": "q10",
    },
    dataset_info={"dead_band": 0.002},
)


def outputs_of(of, values):
    if of is IN_ONE:
        return {"return_quantiles": values}
    columns = {"return_quantile_0.1": 0, "expected_return": 1, "return_quantile_0.9": 2}
    return {meaning: values[:, [columns[meaning]]] for meaning in of.output_names}


@pytest.mark.parametrize("of", [IN_ONE, SEPARATE], ids=["in one", "separate"])
def test_median_decides(of):
    """The median is the expected return; crossing quantiles are returned as they are."""
    results = decoder_of(of)(outputs_of(of, VALUES))
    assert [p.direction for p in results] == [1, 0, 2]
    assert [p.expected_return for p in results] == [0.003, -0.001, -0.003]
    assert [p.return_quantiles for p in results] == [
        dict(zip(("0.1", "0.5", "0.9"), row, strict=True)) for row in VALUES.tolist()
    ]
    assert list(results[0].return_quantiles) == ["0.1", "0.5", "0.9"]


@pytest.mark.parametrize("of", [IN_ONE, SEPARATE], ids=["in one", "separate"])
def test_quantile_that_is_not_finite(of):
    """A row with NaN in any quantile is a failure; the other rows are predictions."""
    values = VALUES.copy()
    values[1, 2] = np.nan
    results = decoder_of(of)(outputs_of(of, values))
    assert results[1] == Failure("an output is NaN or infinite")
    assert [results[0].direction, results[2].direction] == [1, 2]


def test_classifier_with_quantiles():
    """A classifier's direction is that of its classes; the median is its expected return."""
    of = metadata(
        output_names={"direction_logits": "l", "return_quantiles": "y"},
        dataset_info={"quantile_levels": [0.25, 0.5]},
    )
    (prediction,) = decoder_of(of)(
        {"direction_logits": np.array([[0.0, 0.0, 9.0]]), "return_quantiles": VALUES[:1, :2]}
    )
    assert (prediction.direction, prediction.expected_return) == (2, 0.003)
    assert prediction.return_quantiles == {"0.25": -0.01, "0.5": 0.003}
