"""Single predictions outside experiments, with backends in process."""

import pytest

from serve_app.data_plane.decoding import Prediction
from serve_app.data_plane.responses import PredictionResponse
from serve_app.errors import (
    InvalidFeaturesError,
    ModelOutputError,
    UnconfirmedStateError,
    VersionLoadingError,
)
from serve_app.versions import VersionRef
from tests.serve_app.core import NO_PREDICTION, NOW, FakeBackend, FakeConfirmation, core, request


class WithoutExpectedReturn(FakeBackend):
    """A model that has no output for the expected return."""

    async def predict_many(self, windows):
        return [Prediction(self.direction, 0.5, None)] * len(windows)


async def test_response_names_prediction_and_version():
    """A response is a typed value that names the prediction, its version and its time."""
    response = await core().predict()
    assert response == PredictionResponse(
        prediction_id=response.prediction_id,
        symbol="BTCUSDT",
        prediction=Prediction(1, 0.5, 1.0),
        version=VersionRef("toy", "1.0.0"),
        time=NOW,
        latency_ms=response.latency_ms,
    )
    assert len(response.prediction_id) == 32
    assert response.latency_ms >= 0
    assert (response.variant, response.fallback) == (None, False)


async def test_missing_expected_return_stays_none():
    """An expected return that the model does not predict is None, never a made-up number."""
    response = await core(old=WithoutExpectedReturn(1)).predict()
    assert response.prediction == Prediction(1, 0.5, None)


async def test_prediction_ids_are_unique():
    """Every response has its own prediction id."""
    under_test = core()
    ids = {(await under_test.predict()).prediction_id for _ in range(100)}
    assert len(ids) == 100


async def test_named_version_predicts():
    """The version or stage that a request names computes its prediction."""
    response = await core().predict(model_version="staging")
    assert (response.version.version, response.prediction.direction) == ("1.1.0", 2)


async def test_loading_version_is_not_replaced():
    """A version without a ready replica is an error; no other version responds in its place."""
    old = FakeBackend(1, loaded=False)
    with pytest.raises(VersionLoadingError, match=r"toy:1\.0\.0"):
        await core(old=old).predict()
    assert old.batches == []


async def test_unusable_output_is_an_error():
    """An output that is not a prediction is an error, never a HOLD."""
    with pytest.raises(ModelOutputError, match="returned no usable prediction"):
        await core().predict(NO_PREDICTION)


async def test_prediction_is_recorded_under_its_id():
    """A prediction outside experiments is recorded under its id, with its latency."""
    under_test = core()
    response = await under_test.predict()
    (record,) = under_test.records
    assert (record.prediction_id, record.time) == (response.prediction_id, NOW)
    assert (record.model, record.version, record.symbol) == ("toy", "1.0.0", "BTCUSDT")
    assert (record.direction, record.confidence, record.expected_return) == (1, 0.5, 1.0)
    assert (record.experiment_id, record.variant, record.error) == (None, None, None)
    assert record.latency_ms == response.latency_ms


@pytest.mark.parametrize(
    ("features", "error"), [(NO_PREDICTION, ModelOutputError), ([1.0], InvalidFeaturesError)]
)
async def test_failures_outside_experiments_are_not_recorded(features, error):
    """A request outside experiments that fails leaves no record."""
    under_test = core()
    with pytest.raises(error):
        await under_test.predict(features)
    assert under_test.records == []


async def test_unconfirmed_state_rejects_predictions():
    """A router that may follow an older state serves neither single requests nor batches."""
    error = UnconfirmedStateError("the registry actor failed")
    behind = core(confirmation=FakeConfirmation(error))
    with pytest.raises(UnconfirmedStateError, match="not confirmed: the registry actor failed"):
        await behind.predict()
    with pytest.raises(UnconfirmedStateError):
        await behind.predict_batch([request()])
