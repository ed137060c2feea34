"""Requests within an experiment: assignment, records, and the fallback to control."""

import asyncio
from collections import Counter

import pytest

from serve_app.data_plane.responses import FailedItem
from serve_app.data_plane.timing import Stopwatch, TimingSection
from serve_app.errors import InvalidFeaturesError, OverloadedError, PredictionFailedError
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.records import Variant
from serve_app.experiments.running import RunningExperiment
from tests.serve_app.core import NO_PREDICTION, NOW, FakeBackend, core, request

ALWAYS, NEVER = 1.0, 0.0
"""Shares of treatment."""

DIED = PredictionFailedError("toy", "1.1.0", "it died")


def running(share=0.5, **fields):
    definition = ExperimentDefinition(
        experiment_id="old_vs_new",
        control_model_name="toy",
        control_model_version="1.0.0",
        treatment_model_name="toy",
        **{
            "treatment_model_version": "1.1.0",
            "control_traffic": 0.5,
            "treatment_traffic": 0.5,
            **fields,
        },
    )
    return RunningExperiment(definition=definition, treatment_share=share, exposed_at=NOW)


class Slow(FakeBackend):
    """Responds late."""

    def __init__(self, direction, takes_s=5.0):
        super().__init__(direction)
        self.takes_s = takes_s

    async def predict(self, window):
        await asyncio.sleep(self.takes_s)
        return await super().predict(window)


class Defective(FakeBackend):
    """Raises an error that is not a serving error."""

    async def predict(self, window):
        raise KeyError("bug")


class Constant(FakeBackend):
    """Returns the same prediction for every window."""

    async def predict(self, window):
        window = window.copy()
        window[0, 0] = 1.0
        return await super().predict(window)


async def recorded(under_test, count):
    """Wait until `count` predictions are recorded."""
    async with asyncio.timeout(5):
        while len(under_test.records) < count:  # noqa: ASYNC110  records notify nothing
            await asyncio.sleep(0.005)


def is_fallback(response):
    return (response.variant, response.fallback) == (Variant.CONTROL, True)


async def test_unnamed_requests_are_split():
    """Requests that name no version are split, and responses and records name the variant."""
    under_test = core(running=[running()])
    responses = [await under_test.predict() for _ in range(200)]
    seen = Counter((response.variant, response.version.version) for response in responses)
    assert set(seen) == {("control", "1.0.0"), ("treatment", "1.1.0")}
    assert min(seen.values()) > 60
    assert [
        (record.prediction_id, record.variant, record.experiment_id, record.treatment_share)
        for record in under_test.records
    ] == [(response.prediction_id, response.variant, "old_vs_new", 0.5) for response in responses]


@pytest.mark.parametrize("reference", ["production", "staging", "1.0.0"])
async def test_named_versions_are_in_no_experiment(reference):
    """A request that names its version is not part of an experiment."""
    under_test = core(running=[running(ALWAYS)])
    response = await under_test.predict(model_version=reference)
    assert response.variant is None
    assert under_test.records[0].experiment_id is None


async def test_unit_keeps_its_variant():
    """All requests of a unit receive the same variant, in every router."""
    experiment = running(assignment="unit_id")
    for unit in range(20):
        responses = [
            await core(running=[experiment]).predict(unit_id=f"bot-{unit}") for _ in range(5)
        ]
        assert len({response.variant for response in responses}) == 1


async def test_unit_id_is_recorded():
    """The record of a prediction holds the unit id of its request."""
    under_test = core(running=[running(assignment="unit_id")])
    for unit in ("bot-1", None):
        await under_test.predict(unit_id=unit)
    assert [record.unit_id for record in under_test.records] == ["bot-1", None]


@pytest.mark.parametrize(
    ("backend", "code"),
    [
        (FakeBackend(2, error=DIED), "prediction_failed"),
        (FakeBackend(2, error=OverloadedError("toy", "1.1.0", "queue full")), "overloaded"),
        (FakeBackend(2, loaded=False), "loading"),
    ],
)
async def test_control_responds_when_treatment_fails(backend, code):
    """If treatment fails, control responds, and the error is recorded as treatment's."""
    under_test = core(new=backend, running=[running(ALWAYS)], treatment_timeout_s=0.02)
    response = await under_test.predict()
    assert is_fallback(response)
    assert response.version.version == "1.0.0"
    (record,) = under_test.records
    assert (record.variant, record.version, record.error) == (Variant.TREATMENT, "1.1.0", code)
    assert (record.prediction_id, record.direction) == (response.prediction_id, None)


async def test_unusable_output_of_treatment_is_its_error():
    """An output of treatment that is not a prediction is recorded as its error."""
    under_test = core(old=Constant(1), running=[running(ALWAYS)])
    assert is_fallback(await under_test.predict(NO_PREDICTION))
    assert under_test.records[0].error == "model_output"


async def test_open_breaker_spares_a_failing_treatment():
    """A treatment that continues to fail receives no more requests."""
    failing = FakeBackend(2, error=DIED)
    under_test = core(
        new=failing,
        running=[running(ALWAYS)],
        breaker={"failures_in_a_row": 3, "retry_after_s": 1000},
    )
    for _ in range(10):
        assert is_fallback(await under_test.predict())
    assert len(failing.batches) == 3
    assert Counter(record.error for record in under_test.records) == {
        "prediction_failed": 3,
        "circuit_open": 7,
    }
    assert under_test.predictions.tripped() == {"old_vs_new"}


async def test_probes_delay_no_response():
    """A probe delays no response, and is recorded by its result; probes readmit treatment."""

    class Recovering(FakeBackend):
        """Fails once, and then responds when the test allows it."""

        def __init__(self):
            super().__init__(2)
            self.has_failed, self.may_respond = False, asyncio.Event()

        async def predict(self, window):
            if not self.has_failed:
                self.has_failed = True
                raise DIED
            await self.may_respond.wait()
            return await super().predict(window)

    recovering = Recovering()
    under_test = core(
        new=recovering,
        running=[running(ALWAYS)],
        treatment_timeout_s=30.0,
        request_timeout_s=60.0,
        breaker={"failures_in_a_row": 1, "retry_after_s": 0.001},
    )
    async with asyncio.timeout(10):
        for _ in range(2):
            assert is_fallback(await under_test.predict())
            await asyncio.sleep(0.01)
    assert [record.error for record in under_test.records] == ["prediction_failed"]
    recovering.may_respond.set()
    await recorded(under_test, 2)
    assert (under_test.records[1].variant, under_test.records[1].error) == ("treatment", None)
    for _ in range(2):
        assert (await under_test.predict()).variant == "control"
        await asyncio.sleep(0.01)
    assert not under_test.predictions.tripped()
    assert (await under_test.predict()).variant == "treatment"


async def test_failing_control_is_an_error_and_recorded():
    """If control fails, the request fails, and the error is recorded as control's."""
    failing = FakeBackend(1, error=PredictionFailedError("toy", "1.0.0", "it died"))
    under_test = core(old=failing, running=[running(NEVER)])
    with pytest.raises(PredictionFailedError):
        await under_test.predict()
    assert [(record.variant, record.error) for record in under_test.records] == [
        ("control", "prediction_failed")
    ]


@pytest.mark.parametrize("share", [ALWAYS, NEVER])
async def test_invalid_request_is_no_variants_error(share):
    """A request with invalid features fails, and no variant's record counts it."""
    under_test = core(running=[running(share)])
    with pytest.raises(InvalidFeaturesError):
        await under_test.predict([1.0])
    assert under_test.records == []


async def test_mirrored_requests_are_recorded_for_both():
    """In mirror mode control responds, and both variants are recorded under one id."""
    under_test = core(running=[running(mode="mirror")])
    response = await under_test.predict()
    await asyncio.sleep(0.01)
    assert (response.variant, response.version.version) == ("control", "1.0.0")
    assert {record.variant for record in under_test.records} == {"control", "treatment"}
    assert {record.prediction_id for record in under_test.records} == {response.prediction_id}
    assert all(record.mirrored for record in under_test.records)


async def test_mirrored_treatment_delays_no_response():
    """In mirror mode a treatment that hangs delays no response; its timeout is recorded."""
    under_test = core(
        new=Slow(2),
        running=[running(mode="mirror")],
        treatment_timeout_s=0.02,
        request_timeout_s=0.05,
    )
    response = await asyncio.wait_for(under_test.predict(), 0.5)
    assert response.variant == "control"
    await recorded(under_test, 2)
    assert {record.variant: record.error for record in under_test.records} == {
        "control": None,
        "treatment": "overloaded",
    }


async def test_batches_are_split_by_item():
    """Each request of a batch has its own variant; named versions stay outside."""
    under_test = core(running=[running()])
    items = [request() for _ in range(40)] + [request(model_version="1.0.0"), request([1.0])]
    response = await under_test.predict_batch(items)
    *split, named, invalid = response.items
    assert {item.variant for item in split} == {"control", "treatment"}
    assert named.variant is None
    assert isinstance(invalid, FailedItem)
    assert invalid.error.code == "invalid_features"
    assert len({item.prediction_id for item in split}) == 40
    assert (response.succeeded, response.failed) == (41, 1)


def test_health_names_running_experiments():
    """The health report lists the ids of the running experiments."""
    assert core(running=[running()]).status.health().experiments == ["old_vs_new"]


async def test_lost_treatment_falls_back_to_control():
    """A treatment that is no longer served costs the bot nothing."""
    lost = running(ALWAYS, treatment_model_version="9.9.9")
    under_test = core(running=[lost])
    assert is_fallback(await under_test.predict())
    (record,) = under_test.records
    assert (record.variant, record.version, record.error) == ("treatment", "9.9.9", "not_served")


async def test_late_prediction_of_treatment_is_recorded():
    """Control responds; the late prediction of treatment counts as control's would."""
    under_test = core(new=Slow(2, 0.1), running=[running(ALWAYS)], treatment_timeout_s=0.02)
    response = await under_test.predict()
    assert is_fallback(response)
    await recorded(under_test, 1)
    (record,) = under_test.records
    assert (record.variant, record.error, record.direction) == ("treatment", None, 2)
    assert record.prediction_id == response.prediction_id
    assert record.latency_ms > 90


@pytest.mark.parametrize(("share", "variant"), [(ALWAYS, "treatment"), (NEVER, "control")])
async def test_request_timeout_is_either_variants_error(share, variant):
    """A run beyond the request timeout is an error of its variant, whichever it is."""
    under_test = core(
        old=Slow(1),
        new=Slow(2),
        running=[running(share)],
        treatment_timeout_s=0.02,
        request_timeout_s=0.05,
    )
    waiting = asyncio.create_task(under_test.predict())
    await recorded(under_test, 1)
    assert [(record.variant, record.error) for record in under_test.records] == [
        (variant, "overloaded")
    ]
    waiting.cancel()


async def test_slow_variants_are_recorded_alike():
    """In an A/A test, slow predictions of both variants are recorded alike.

    One prediction in five takes longer than treatment's time limit.
    """

    class SometimesSlow(FakeBackend):
        calls = 0

        async def predict(self, window):
            self.calls += 1
            await asyncio.sleep(0.4 if self.calls % 5 == 0 else 0)
            return await super().predict(window)

    under_test = core(
        old=SometimesSlow(1),
        new=SometimesSlow(2),
        running=[running()],
        treatment_timeout_s=0.2,
        breaker={"failures_in_a_row": 1000, "window_calls": 1000},
    )
    await asyncio.gather(*(under_test.predict() for _ in range(400)))
    await recorded(under_test, 400)
    assert {record.error for record in under_test.records} == {None}
    for variant in Variant:
        records = [record for record in under_test.records if record.variant is variant]
        # A busy machine makes more of them late, and never fewer.
        assert sum(record.latency_ms > 390 for record in records) >= len(records) / 5 - 2


@pytest.mark.parametrize("share", [ALWAYS, NEVER])
async def test_cancelled_request_is_still_recorded(share):
    """The run of a request whose client has left continues to its end and is recorded."""
    under_test = core(old=Slow(1, 0.05), new=Slow(2, 0.05), running=[running(share)])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(under_test.predict(), 0.01)
    await recorded(under_test, 1)
    assert under_test.records[0].error is None


async def test_hanging_treatment_trips_despite_cancelled_requests():
    """A treatment that hangs is excluded even if every client leaves before its time limit."""
    under_test = core(
        new=Slow(2),
        running=[running(ALWAYS)],
        treatment_timeout_s=0.03,
        request_timeout_s=0.1,
        breaker={"failures_in_a_row": 3},
    )
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(under_test.predict(), 0.01)
    await asyncio.sleep(0.1)
    assert under_test.predictions.tripped() == {"old_vs_new"}


async def test_unexpected_error_of_treatment_is_logged(caplog):
    """An unexpected error of treatment is logged and recorded, and control responds."""
    under_test = core(new=Defective(2), running=[running(ALWAYS)])
    assert is_fallback(await under_test.predict())
    assert [record.error for record in under_test.records] == ["prediction_failed"]
    assert "KeyError: 'bug'" in caplog.text


async def test_time_limit_starts_when_an_item_is_sent():
    """In a large batch treatment's time limit starts when an item is sent.

    With all items in flight they would wait for 150 runs one after the other, beyond the limit.
    """

    class OneAtATime(FakeBackend):
        lock = None

        async def predict(self, window):
            self.lock = self.lock or asyncio.Lock()
            async with self.lock:
                await asyncio.sleep(0.004)
            return await super().predict(window)

    under_test = core(
        old=OneAtATime(1),
        new=OneAtATime(2),
        running=[running()],
        treatment_timeout_s=0.3,
        max_batch_requests=300,
    )
    response = await under_test.predict_batch([request() for _ in range(300)], max_batch_size=8)
    assert response.succeeded == 300
    assert not any(item.fallback for item in response.items)


async def test_mirrored_latency_covers_only_the_run():
    """In mirror mode the latency of each variant covers its own run, not the reading of a body."""
    under_test = core(old=Slow(1, 0.02), new=Slow(2, 0.02), running=[running(mode="mirror")])
    watch = Stopwatch()
    watch.spent[TimingSection.READ] = 1.0  # the body took a second to arrive
    await under_test.predictions.predict(request(), watch)
    await recorded(under_test, 2)
    assert all(15 < record.latency_ms < 500 for record in under_test.records)
