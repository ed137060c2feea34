"""The outputs of regressors, decoded into predictions."""

import numpy as np
import pytest

from serve_app.data_plane.decoding import Failure
from serve_app.data_plane.regression import decode_returns, decoder_of
from testkit.models import metadata

BAND = 0.002


def decoded(*returns, dead_band=BAND, **others):
    return decode_returns(
        {"expected_return": np.array([[r] for r in returns]), **others}, dead_band
    )


def test_dead_band():
    """A return is BUY or SELL beyond the dead band, and HOLD up to its edge."""
    returns = (0.003, -0.003, 0.0, 0.002, -0.002, 0.0020001, -1e300, 5e-324)
    assert [p.direction for p in decoded(*returns)] == [1, 2, 0, 0, 0, 1, 2, 0]
    assert [p.expected_return for p in decoded(*returns)] == list(returns)


def test_confidence():
    """The confidence is 0.5 at the edge and grows with the distance from it on both sides."""
    confidences = [p.confidence for p in decoded(0.0, 0.001, 0.002, 0.004, -0.004, 0.02, 1e308)]
    assert confidences == pytest.approx([1, 2 / 3, 0.5, 2 / 3, 2 / 3, 10 / 11, 1])


def test_own_confidence():
    """A regressor's own output for the confidence takes precedence."""
    (prediction,) = decoded(0.01, confidence=np.array([[0.4]]))
    assert prediction.confidence == 0.4


def test_return_that_is_not_finite_fails_alone():
    """A row with NaN or infinity is a failure; the other rows are predictions."""
    results = decoded(0.01, np.nan, np.inf)
    assert results[0].direction == 1
    assert results[1:] == [Failure("an output is NaN or infinite")] * 2


def test_decoder_of_each_kind():
    """Classifiers of two and three classes and regressors have their decoders."""
    two = metadata(label_map={0: "SELL", 1: "BUY"}, output_names={"direction_probabilities": "p"})
    results = decoder_of(two)({"direction_probabilities": np.array([[0.7, 0.3], [0.2, 0.8]])})
    assert [(p.direction, p.confidence) for p in results] == [(2, 0.7), (1, 0.8)]
    logits = decoder_of(two)({"direction_logits": np.array([[0.0, 0.0], [0.0, 2.0]])})
    assert [p.confidence for p in logits] == pytest.approx([0.5, 1 / (1 + np.exp(-2))])
    regressor = metadata(output_names={"expected_return": "y"}, dataset_info={"dead_band": BAND})
    assert decoder_of(regressor)({"expected_return": np.array([[0.01]])})[0].direction == 1
