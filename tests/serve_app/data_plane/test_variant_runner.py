"""Requests within an experiment: who answers, who stands in, and what is recorded."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from serve_app.api.rest.parsing import BatchRequest, parse_predict
from serve_app.api.rest.schemas import PredictAnswer
from serve_app.data_plane.timing import Stage, Stopwatch
from serve_app.errors import InvalidFeaturesError, OverloadedError, PredictionFailedError
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.records import Variant
from serve_app.experiments.running import RunningExperiment
from tests.serve_app.data_plane.test_predictions import (
    GOOD,
    NOW,
    Backend,
    Notes,
    predict,
    predict_batch,
    request,
    service,
)

TREATED, UNTREATED = 1.0, 0.0


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


class Slow(Backend):
    """Answers late."""

    def __init__(self, direction, takes_s=5.0):
        super().__init__(direction)
        self.takes_s = takes_s

    async def predict(self, window):
        await asyncio.sleep(self.takes_s)
        return await super().predict(window)


class Defective(Backend):
    """Fails with what nobody foresaw."""

    async def predict(self, window):
        raise KeyError("bug")


async def recorded(notes, count):
    """Wait until so many predictions are recorded."""
    async with asyncio.timeout(5):
        while len(notes.records) < count:  # noqa: ASYNC110  records tell nobody
            await asyncio.sleep(0.005)


async def test_requests_that_name_no_version_are_split_and_the_answer_says_by_which_variant():
    notes = Notes()
    under_test = service(notes=notes, experiments=[running()])
    answers = [await predict(under_test, request()) for _ in range(200)]
    seen = Counter((each["variant"], each["model_version"]) for each in answers)
    assert set(seen) == {("control", "1.0.0"), ("treatment", "1.1.0")}
    assert min(seen.values()) > 60
    assert [each.prediction_id for each in notes.records] == [
        each["prediction_id"] for each in answers
    ]
    assert [(each.variant, each.experiment_id, each.treatment_share) for each in notes.records] == [
        (each["variant"], "old_vs_new", 0.5) for each in answers
    ]
    PredictAnswer.model_validate(answers[0])


@pytest.mark.parametrize("reference", ["production", "staging", "1.0.0"])
async def test_a_request_that_names_its_version_is_in_no_experiment(reference):
    notes = Notes()
    under_test = service(notes=notes, experiments=[running(TREATED)])
    answer = await predict(under_test, request(model_version=reference))
    assert answer["variant"] is None
    assert notes.records[0].experiment_id is None


async def test_a_unit_stays_in_its_variant():
    experiment = running(assignment="unit_id")
    for unit in range(20):
        variants = {
            (await predict(service(experiments=[experiment]), request(unit_id=f"bot-{unit}")))[
                "variant"
            ]
            for _ in range(5)
        }
        assert len(variants) == 1


async def test_whom_a_request_named_is_recorded():
    notes = Notes()
    under_test = service(notes=notes, experiments=[running(assignment="unit_id")])
    for unit in ("bot-1", None):
        await predict(under_test, request(unit_id=unit))
    assert [each.unit_id for each in notes.records] == ["bot-1", None]


@pytest.mark.parametrize(
    ("backend", "code"),
    [
        (Backend(2, error=PredictionFailedError("toy", "1.1.0", "it died")), "prediction_failed"),
        (Backend(2, error=OverloadedError("toy", "1.1.0", "queue full")), "overloaded"),
        (Backend(2, loaded=False), "loading"),
    ],
)
async def test_where_treatment_fails_control_answers_and_the_error_is_treatments(backend, code):
    notes = Notes()
    under_test = service(
        new=backend, notes=notes, experiments=[running(TREATED)], treatment_timeout_s=0.02
    )
    answer = await predict(under_test, request())
    assert (answer["variant"], answer["model_version"], answer["fallback"]) == (
        "control",
        "1.0.0",
        True,
    )
    (record,) = notes.records
    assert (record.variant, record.version, record.error) == (Variant.TREATMENT, "1.1.0", code)
    assert (record.prediction_id, record.direction) == (answer["prediction_id"], None)
    PredictAnswer.model_validate(answer)


async def test_an_unusable_output_of_treatment_is_its_error_too():
    notes = Notes()
    bad = request([666.0, *GOOD[1:]])
    under_test = service(
        old=Constant(1), new=Backend(2), notes=notes, experiments=[running(TREATED)]
    )
    assert (await predict(under_test, bad))["variant"] == "control"
    assert notes.records[0].error == "model_output"


class Constant(Backend):
    """Answers everything alike."""

    async def predict(self, window):
        window = window.copy()
        window[0, 0] = 1.0
        return await super().predict(window)


async def test_a_treatment_that_keeps_failing_is_asked_no_more():
    failing = Backend(2, error=PredictionFailedError("toy", "1.1.0", "it died"))
    notes = Notes()
    under_test = service(
        new=failing,
        notes=notes,
        experiments=[running(TREATED)],
        breaker={"failures_in_a_row": 3, "retry_after_s": 1000},
    )
    for _ in range(10):
        assert (await predict(under_test, request()))["fallback"]
    assert len(failing.batches) == 3
    assert Counter(each.error for each in notes.records) == {
        "prediction_failed": 3,
        "circuit_open": 7,
    }
    assert under_test.tripped() == {"old_vs_new"}


async def test_a_trial_keeps_no_bot_waiting_and_is_recorded_as_what_it_comes_to():
    class Ailing(Backend):
        """Fails once, and then answers when it may."""

        def __init__(self):
            super().__init__(2)
            self.failed, self.may = False, asyncio.Event()

        async def predict(self, window):
            if not self.failed:
                self.failed = True
                raise PredictionFailedError("toy", "1.1.0", "it died")
            await self.may.wait()
            return await super().predict(window)

    ailing, notes = Ailing(), Notes()
    under_test = service(
        new=ailing,
        notes=notes,
        experiments=[running(TREATED)],
        treatment_timeout_s=30.0,
        request_timeout_s=60.0,
        breaker={"failures_in_a_row": 1, "retry_after_s": 0.001},
    )
    async with asyncio.timeout(10):
        for _ in range(2):
            assert (await predict(under_test, request()))["fallback"]
            await asyncio.sleep(0.01)
    assert [each.error for each in notes.records] == ["prediction_failed"]
    ailing.may.set()
    await recorded(notes, 2)
    assert (notes.records[1].variant, notes.records[1].error) == ("treatment", None)
    for _ in range(2):
        assert (await predict(under_test, request()))["variant"] == "control"
        await asyncio.sleep(0.01)
    assert not under_test.tripped()
    assert (await predict(under_test, request()))["variant"] == "treatment"


async def test_a_failing_control_is_the_answer_and_is_recorded():
    notes = Notes()
    failing = Backend(1, error=PredictionFailedError("toy", "1.0.0", "it died"))
    under_test = service(old=failing, notes=notes, experiments=[running(UNTREATED)])
    with pytest.raises(PredictionFailedError):
        await predict(under_test, request())
    assert [(each.variant, each.error) for each in notes.records] == [
        ("control", "prediction_failed")
    ]


async def test_a_bad_request_is_no_variants_error():
    notes = Notes()
    for share in (TREATED, UNTREATED):
        with pytest.raises(InvalidFeaturesError):
            await predict(service(notes=notes, experiments=[running(share)]), request([1.0]))
    assert notes.records == []


async def test_mirrored_requests_are_answered_by_control_and_recorded_of_both():
    notes = Notes()
    under_test = service(notes=notes, experiments=[running(mode="mirror")])
    answer = await predict(under_test, request())
    await asyncio.sleep(0.01)
    assert (answer["variant"], answer["model_version"]) == ("control", "1.0.0")
    assert {each.variant for each in notes.records} == {"control", "treatment"}
    assert {each.prediction_id for each in notes.records} == {answer["prediction_id"]}
    assert all(each.mirrored for each in notes.records)


async def test_a_mirrored_treatment_costs_the_bot_nothing_when_it_hangs_or_fails():
    notes = Notes()
    under_test = service(
        new=Slow(2),
        notes=notes,
        experiments=[running(mode="mirror")],
        treatment_timeout_s=0.02,
        request_timeout_s=0.05,
    )
    answer = await asyncio.wait_for(predict(under_test, request()), 0.5)
    assert answer["variant"] == "control"
    await recorded(notes, 2)
    assert {each.variant: each.error for each in notes.records} == {
        "control": None,
        "treatment": "overloaded",
    }


async def test_a_batch_is_split_item_by_item_and_named_versions_stay_out():
    notes = Notes()
    under_test = service(notes=notes, experiments=[running()])
    items = [request() for _ in range(40)] + [request(model_version="1.0.0"), request([1.0])]
    answer = await predict_batch(under_test, items)
    *split, named, bad = answer["predictions"]
    assert {each["variant"] for each in split} == {"control", "treatment"}
    assert named["variant"] is None
    assert bad["error"]["code"] == "invalid_features"
    assert len({each["prediction_id"] for each in split}) == 40
    assert (answer["succeeded"], answer["failed"]) == (41, 1)


def test_health_names_the_running_experiments():
    assert service(experiments=[running()]).health()["active_experiments"] == ["old_vs_new"]


def test_a_switchback_changes_variants_with_its_blocks_only():
    experiment = running(assignment="switchback", switchback_block_s=3600, horizon_s=60)
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


async def test_a_treatment_that_is_not_served_any_more_costs_the_bot_nothing():
    notes = Notes()
    lost = running(TREATED, treatment_model_version="9.9.9")
    answer = await predict(service(notes=notes, experiments=[lost]), request())
    assert (answer["variant"], answer["fallback"]) == ("control", True)
    (record,) = notes.records
    assert (record.variant, record.version, record.error) == ("treatment", "9.9.9", "not_served")


async def test_a_late_answer_of_treatment_is_recorded_as_what_it_is():
    """Control stands in; what treatment then answers, and when, counts as control's would."""
    notes = Notes()
    under_test = service(
        new=Slow(2, 0.1), notes=notes, experiments=[running(TREATED)], treatment_timeout_s=0.02
    )
    answer = await predict(under_test, request())
    assert (answer["variant"], answer["fallback"]) == ("control", True)
    await recorded(notes, 1)
    (record,) = notes.records
    assert (record.variant, record.error, record.direction) == ("treatment", None, 2)
    assert record.prediction_id == answer["prediction_id"]
    assert record.latency_ms > 90


async def test_an_answer_beyond_the_request_timeout_is_an_error_of_either_variant():
    for share, variant in ((TREATED, "treatment"), (UNTREATED, "control")):
        notes = Notes()
        under_test = service(
            old=Slow(1),
            new=Slow(2),
            notes=notes,
            experiments=[running(share)],
            treatment_timeout_s=0.02,
            request_timeout_s=0.05,
        )
        waiting = asyncio.create_task(predict(under_test, request()))
        await recorded(notes, 1)
        assert [(each.variant, each.error) for each in notes.records] == [(variant, "overloaded")]
        waiting.cancel()


async def test_slow_answers_of_two_alike_versions_are_recorded_alike():
    """A/A, where one answer in five takes longer than treatment may."""

    class Sometimes(Backend):
        asked = 0

        async def predict(self, window):
            self.asked += 1
            await asyncio.sleep(0.4 if self.asked % 5 == 0 else 0)
            return await super().predict(window)

    notes = Notes()
    under_test = service(
        old=Sometimes(1),
        new=Sometimes(2),
        notes=notes,
        experiments=[running()],
        treatment_timeout_s=0.2,
        breaker={"failures_in_a_row": 1000, "window_calls": 1000},
    )
    await asyncio.gather(*(predict(under_test, request()) for _ in range(400)))
    await recorded(notes, 400)
    assert {each.error for each in notes.records} == {None}
    for variant in Variant:
        ours = [each for each in notes.records if each.variant is variant]
        # A busy machine makes more of them late, and never fewer.
        assert sum(each.latency_ms > 390 for each in ours) >= len(ours) / 5 - 2


@pytest.mark.parametrize("share", [TREATED, UNTREATED])
async def test_a_bot_that_gives_up_leaves_its_record(share):
    notes = Notes()
    under_test = service(
        old=Slow(1, 0.05), new=Slow(2, 0.05), notes=notes, experiments=[running(share)]
    )
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(predict(under_test, request()), 0.01)
    await recorded(notes, 1)
    assert notes.records[0].error is None


async def test_a_treatment_that_hangs_is_taken_out_though_every_bot_gives_up_before():
    under_test = service(
        new=Slow(2),
        experiments=[running(TREATED)],
        treatment_timeout_s=0.03,
        request_timeout_s=0.1,
        breaker={"failures_in_a_row": 3},
    )
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(predict(under_test, request()), 0.01)
    await asyncio.sleep(0.1)
    assert under_test.tripped() == {"old_vs_new"}


async def test_an_unforeseen_failure_of_treatment_is_answered_by_control(caplog):
    notes = Notes()
    under_test = service(new=Defective(2), notes=notes, experiments=[running(TREATED)])
    answer = await predict(under_test, request())
    assert (answer["variant"], answer["fallback"]) == ("control", True)
    assert [each.error for each in notes.records] == ["prediction_failed"]
    assert "KeyError: 'bug'" in caplog.text


async def test_in_a_large_batch_treatments_time_begins_when_an_item_is_sent():
    """All at once they would wait for 150 runs one after the other, longer than treatment may."""

    class OneAfterTheOther(Backend):
        turn = None

        async def predict(self, window):
            self.turn = self.turn or asyncio.Lock()
            async with self.turn:
                await asyncio.sleep(0.004)
            return await super().predict(window)

    notes = Notes()
    under_test = service(
        old=OneAfterTheOther(1),
        new=OneAfterTheOther(2),
        notes=notes,
        experiments=[running()],
        treatment_timeout_s=0.3,
        max_batch_requests=300,
    )
    body = BatchRequest(items=[request() for _ in range(300)], max_batch_size=8)
    answer = await under_test.predict_batch(body, Stopwatch())
    assert answer["succeeded"] == 300
    assert not any(each.get("fallback") for each in answer["predictions"])


async def test_mirrored_variants_are_timed_each_around_its_own_run():
    notes = Notes()
    under_test = service(
        old=Slow(1, 0.02), new=Slow(2, 0.02), notes=notes, experiments=[running(mode="mirror")]
    )
    watch = Stopwatch()
    watch.spent[Stage.READ] = 1.0  # the body took a second to come in
    await under_test.predict(parse_predict(request()), watch)
    await recorded(notes, 2)
    assert all(15 < each.latency_ms < 500 for each in notes.records)
