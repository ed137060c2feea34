"""The router's work, with backends that answer in process."""

from datetime import UTC, datetime

import pytest

from registry import ModelStage
from serve_app.api.rest.parsing import BatchRequest, ReloadRequest, parse_predict
from serve_app.api.rest.schemas import PredictAnswer, ReloadAnswer
from serve_app.data_plane.backends import Backends
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.data_plane.predictions import PredictionService
from serve_app.data_plane.timing import Stopwatch
from serve_app.errors import (
    BodyTooLargeError,
    ModelOutputError,
    NotRegisteredError,
    NotServedError,
    OverloadedError,
    TooManyVersionsError,
    UnconfirmedStateError,
    UnusableVersionError,
    VersionLoadingError,
)
from serve_app.settings import RouterSettings, VersionSettings
from serve_app.state.routing import RoutingTable
from serve_app.state.serving import ServedVersion
from serve_app.versions import VersionRef
from testkit.models import metadata

OLD = metadata(version="1.0.0", stage=ModelStage.PRODUCTION, metrics={"accuracy": 0.5})
NEW = metadata(version="1.1.0", stage=ModelStage.STAGING)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GOOD = [1.0, 2, 3, 4, 5, 6]


class Backend:
    """Answers with the first number of a window as expected_return; fails where that is 666."""

    def __init__(self, direction, loaded=True, error=None):
        self.direction, self.is_loaded, self.error = direction, loaded, error
        self.batches = []

    def loaded(self):
        return self.is_loaded

    def problem(self):
        return None

    def close(self):
        pass

    async def predict(self, window):
        return (await self.predict_many(window[None]))[0]

    async def predict_many(self, windows):
        self.batches.append(len(windows))
        if self.error:
            raise self.error
        first = windows[:, 0, 0].tolist()
        return [
            Failure("NaN") if value == 666 else Prediction(self.direction, 0.5, value)
            for value in first
        ]


class SilentOnReturns(Backend):
    """A model that gives no expected return."""

    async def predict_many(self, windows):
        return [Prediction(self.direction, 0.5, None)] * len(windows)


class Loader:
    """Loads nothing, and notes what it was asked."""

    def __init__(self, error=None):
        self.error, self.asked = error, []

    async def reload(self, model, reference):
        self.asked.append((model, reference))
        return {"production": "1.0.0", "staging": "1.1.0", "loaded": reference or "1.0.0"}

    async def request(self, model, version):
        self.asked.append((model, version))
        if self.error:
            raise self.error


class Notes:
    """Keeps the records of predictions."""

    def __init__(self):
        self.records = []

    def record(self, record):
        self.records.append(record)


class Confirmation:
    """A serving state that is confirmed from the start, or fails to be."""

    def __init__(self, error=None):
        self.error, self.confirmed = error, error is None

    async def confirm(self):
        raise self.error


def service(
    old=None,
    new=None,
    max_batch_requests=100,
    loader=None,
    loads_on_demand=False,
    notes=None,
    experiments=(),
    confirmation=None,
    **settings,
):
    opened = {"toy:1.0.0": old or Backend(1), "toy:1.1.0": new or Backend(2)}
    backends = Backends(lambda version: opened[version.key])
    backends.adopt(
        ServedVersion(metadata=each, settings=VersionSettings(model="toy", version=each.version))
        for each in (OLD, NEW)
    )
    table = RoutingTable(
        default_model="toy",
        versions=[OLD, NEW],
        stages={"toy": {"production": "1.0.0", "staging": "1.1.0"}},
        pinned=frozenset(VersionRef.of(each) for each in (OLD, NEW)),
        loads_on_demand=loads_on_demand,
        experiments={each.definition.control_model_name: each for each in experiments},
    )
    limits = RouterSettings(max_batch_requests=max_batch_requests, **settings)
    return PredictionService(
        table,
        backends,
        loader or Loader(),
        notes or Notes(),
        limits,
        confirmation or Confirmation(),
        now=lambda: NOW,
    )


def request(features=GOOD, **fields):
    return {"symbol": "BTCUSDT", "features": features, **fields}


async def predict(of, document):
    return await of.predict(parse_predict(document), Stopwatch())


async def predict_batch(of, items, max_batch_size=32):
    batch = BatchRequest(items=items, max_batch_size=max_batch_size)
    return await of.predict_batch(batch, Stopwatch())


async def test_an_expected_return_that_the_model_does_not_give_is_null():
    answer = await predict(service(old=SilentOnReturns(1)), request())
    assert answer["prediction"] == {"direction": 1, "confidence": 0.5, "expected_return": None}
    PredictAnswer.model_validate(answer)


async def test_an_answer_has_every_field_of_the_contract():
    answer = await predict(service(), request())
    assert answer.pop("latency_ms") >= 0
    assert len(answer.pop("prediction_id")) == 32
    assert answer == {
        "symbol": "BTCUSDT",
        "prediction": {"direction": 1, "confidence": 0.5, "expected_return": 1.0},
        "model_name": "toy",
        "model_version": "1.0.0",
        "variant": None,
        "timestamp": NOW,
    }


async def test_every_answer_has_an_id_of_its_own():
    under_test = service()
    ids = {(await predict(under_test, request()))["prediction_id"] for _ in range(100)}
    assert len(ids) == 100


async def test_the_named_version_answers():
    answer = await predict(service(), request(model_version="staging"))
    assert (answer["model_version"], answer["prediction"]["direction"]) == ("1.1.0", 2)


async def test_a_version_without_a_ready_replica_is_not_replaced_by_another():
    old = Backend(1, loaded=False)
    with pytest.raises(VersionLoadingError, match=r"no replica of toy:1\.0\.0 answers"):
        await predict(service(old=old), request())
    assert old.batches == []


async def test_an_unusable_output_is_an_error_never_a_hold():
    with pytest.raises(ModelOutputError, match="gave no usable prediction"):
        await predict(service(), request([666.0, *GOOD[1:]]))


async def test_a_batch_answers_in_order_and_a_bad_item_fails_alone():
    items = [
        request([1.0, *GOOD[1:]]),
        request(GOOD[:-1]),
        request([2.0, *GOOD[1:]], model_version="1.1.0"),
        "no object",
        request([666.0, *GOOD[1:]]),
        request([3.0, *GOOD[1:]]),
        request(model_version="9.9.9"),
    ]
    answer = await predict_batch(service(), items)
    got = [
        each["error"]["code"] if "error" in each else each["prediction"]["expected_return"]
        for each in answer["predictions"]
    ]
    assert got == [
        1.0,
        "invalid_features",
        2.0,
        "invalid_request",
        "model_output",
        3.0,
        "not_served",
    ]
    assert [each["symbol"] for each in answer["predictions"]] == [
        *["BTCUSDT"] * 3,
        None,
        *["BTCUSDT"] * 3,
    ]
    assert (answer["succeeded"], answer["failed"]) == (3, 4)
    assert answer["total_latency_ms"] >= 0


async def test_a_batch_runs_each_version_in_runs_of_at_most_max_batch_size():
    old, new = Backend(1), Backend(2)
    items = [request(), request(model_version="1.1.0")] * 5
    await predict_batch(service(old, new), items, max_batch_size=2)
    assert (old.batches, new.batches) == ([2, 2, 1], [2, 2, 1])


async def test_an_overloaded_version_fails_its_own_items_only():
    old = Backend(1, error=OverloadedError("toy", "1.0.0", "queue full"))
    answer = await predict_batch(service(old), [request(), request(model_version="1.1.0")])
    first, second = answer["predictions"]
    assert first["error"]["code"] == "overloaded"
    assert second["model_version"] == "1.1.0"


async def test_a_batch_over_the_limit_is_refused_whole():
    with pytest.raises(BodyTooLargeError, match="at most 2 requests, received 3"):
        await predict_batch(service(max_batch_requests=2), [request()] * 3)


def test_models_lists_every_deployed_version():
    assert service(new=Backend(2, loaded=False)).models() == [
        {
            "name": "toy",
            "version": "1.0.0",
            "stage": "Production",
            "model_type": "Toy",
            "metrics": {"accuracy": 0.5},
            "size_mb": 0.1,
            "loaded": True,
        },
        {
            "name": "toy",
            "version": "1.1.0",
            "stage": "Staging",
            "model_type": "Toy",
            "metrics": {},
            "size_mb": 0.1,
            "loaded": False,
        },
    ]


@pytest.mark.parametrize(
    ("old_loaded", "new_loaded", "status"),
    [
        (True, True, "healthy"),
        (True, False, "degraded"),
        (False, True, "unhealthy"),
        (False, False, "unhealthy"),
    ],
)
def test_health_is_what_a_usual_request_would_meet(old_loaded, new_loaded, status):
    report = service(Backend(1, loaded=old_loaded), Backend(2, loaded=new_loaded)).health()
    loaded = [("toy:1.0.0", old_loaded), ("toy:1.1.0", new_loaded)]
    assert report["status"] == status
    assert report["loaded_models"] == [key for key, is_loaded in loaded if is_loaded]
    assert report["active_experiments"] == []
    assert report["timestamp"] == NOW
    assert report["uptime_seconds"] >= 0


async def test_a_version_that_nobody_asked_the_fleet_for_is_loaded_only_where_that_is_allowed():
    loader = Loader()
    with pytest.raises(NotServedError):
        await predict(service(loader=loader), request(model_version="2.0.0"))
    assert loader.asked == []
    allowed = service(loader=loader, loads_on_demand=True)
    with pytest.raises(VersionLoadingError, match=r"toy:2\.0\.0 cannot answer: it is being loaded"):
        await predict(allowed, request(model_version="2.0.0"))
    assert loader.asked == [("toy", "2.0.0")]
    with pytest.raises(NotServedError):
        await predict(allowed, request(model_version="none"))
    assert loader.asked == [("toy", "2.0.0")]


async def test_a_version_that_is_not_registered_is_answered_with_what_is_served():
    loader = Loader(NotRegisteredError("toy", "2.0.0", "no such version"))
    with pytest.raises(NotServedError, match=r"served: toy:1\.0\.0, toy:1\.1\.0"):
        await predict(service(loader=loader, loads_on_demand=True), request(model_version="2.0.0"))


async def test_no_room_for_a_version_is_said_and_fails_its_own_item_only():
    loader = Loader(TooManyVersionsError("toy", "2.0.0", 8))
    under_test = service(loader=loader, loads_on_demand=True)
    answer = await predict_batch(under_test, [request(model_version="2.0.0"), request()])
    assert answer["predictions"][0]["error"]["code"] == "too_many_versions"
    assert answer["predictions"][1]["model_version"] == "1.0.0"


async def test_a_reload_tells_which_version_holds_which_stage():
    answer = await service().reload(ReloadRequest(model_name="toy", version="1.1.0"))
    assert answer == {
        "status": "success",
        "message": "toy:1.1.0 answers; production is 1.0.0, staging is 1.1.0",
        "model_name": "toy",
        "version": "1.1.0",
    }
    ReloadAnswer.model_validate(answer)


async def test_unconfirmed_state_refuses_predictions():
    """A router that may follow an older state answers neither single requests nor batches."""
    behind = service(confirmation=Confirmation(UnconfirmedStateError("the registry is away")))
    with pytest.raises(UnconfirmedStateError, match="not confirmed: the registry is away"):
        await predict(behind, request())
    with pytest.raises(UnconfirmedStateError):
        await predict_batch(behind, [request()])


def test_a_server_that_knows_no_version_yet_is_not_healthy():
    empty = PredictionService(
        RoutingTable(default_model="toy"),
        Backends(lambda version: Backend(1)),
        Loader(),
        Notes(),
        RouterSettings(),
        Confirmation(),
    )
    assert empty.health()["status"] == "unhealthy"


async def test_every_answer_outside_experiments_is_recorded_under_its_id():
    notes = Notes()
    answer = await predict(service(notes=notes), request())
    (record,) = notes.records
    assert (record.prediction_id, record.time) == (answer["prediction_id"], NOW)
    assert (record.model, record.version, record.symbol) == ("toy", "1.0.0", "BTCUSDT")
    assert (record.direction, record.confidence, record.expected_return) == (1, 0.5, 1.0)
    assert (record.experiment_id, record.variant, record.error) == (None, None, None)
    assert record.latency_ms == answer["latency_ms"]


async def test_what_was_not_answered_outside_experiments_is_not_recorded():
    notes = Notes()
    with pytest.raises(ModelOutputError):
        await predict(service(notes=notes), request([666.0, *GOOD[1:]]))
    assert notes.records == []


async def test_a_batch_under_way_is_answered_by_a_version_that_leaves_meanwhile():
    under_test = None

    class Leaves(Backend):
        async def predict_many(self, windows):
            under_test._backends.adopt(())
            return await super().predict_many(windows)

    under_test = service(old=Leaves(1))
    answer = await predict_batch(under_test, [request()] * 3, max_batch_size=1)
    assert (answer["succeeded"], answer["failed"]) == (3, 0)


async def test_an_unusable_version_asked_for_is_no_fault_of_the_request():
    loader = Loader(UnusableVersionError("toy", "2.0.0", "sha256 differs"))
    under_test = service(loader=loader, loads_on_demand=True)
    with pytest.raises(VersionLoadingError, match="sha256 differs"):
        await predict(under_test, request(model_version="2.0.0"))
