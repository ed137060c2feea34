"""Experiments on a real cluster: a bot that reports outcomes, verdicts, and deaths in between."""

import asyncio
import math
import signal
import time
import uuid
from collections import Counter

import aiohttp
import numpy as np
import pytest

from registry import ModelRegistry, ModelStage
from registry.predictors import load_predictor
from serve_app.backup.backup import back_up
from serve_app.backup.restore import restore
from serve_app.client import ModelClient
from serve_app.errors import ServerRejectedError
from serve_app.experiments.store import ExperimentStore
from serve_app.settings import AppSettings
from tests.integration.conftest import NAME

WINDOW = [0.25 * (i % 7 - 3) for i in range(6600)]
RIGHT = {0: 0.0, 1: 0.01, 2: -0.01}
"""A market return that makes a direction right, and one that makes it wrong."""
WRONG = {0: 0.01, 1: -0.01, 2: 0.01}


@pytest.fixture
async def client(cluster):
    async with ModelClient(
        cluster.url, raise_errors=True, timeout_s=30, command_timeout_s=90
    ) as client:
        yield client


@pytest.fixture
async def experiment(client):
    """The name of an experiment that is stopped at the end, regardless of its state."""
    name = f"e-{uuid.uuid4().hex[:8]}"
    yield name
    try:
        await client.stop_ab_test(name)
    except ServerRejectedError as error:
        if error.code != "no_such_experiment":
            raise


async def create(client, name, treatment="1.1.0", traffic_split=0.5, **settings):
    assert await client.create_ab_test(
        name, NAME, "1.0.0", NAME, treatment, traffic_split=traffic_split, **settings
    )


async def trade(client, market, seconds=math.inf, concurrency=4, done=None):
    """Trade until done; return the responses and the acknowledged outcomes.

    Args:
        market: returns the market's return after a response.
    """
    answers, acknowledged = [], {}
    ends_s = time.monotonic() + seconds

    async def bot():
        while time.monotonic() < ends_s and not (done and done.is_set()):
            answer = await client.predict("EURUSD", WINDOW)
            answers.append(answer)
            outcome = market(answer)
            if outcome is not None and await client.record_outcome(
                answer["prediction_id"], outcome
            ):
                acknowledged[answer["prediction_id"]] = outcome

    await asyncio.gather(*(bot() for _ in range(concurrency)))
    return answers, acknowledged


def favours(variant):
    """Return a market in which one variant is always right and the other never."""

    def market(answer):
        direction = answer["prediction"]["direction"]
        return (RIGHT if answer["variant"] == variant else WRONG)[direction]

    return market


async def traded_to_its_end(client, name, market, seconds=90):
    """Trade until the experiment ends by itself; return the responses and its final analysis."""
    done = asyncio.Event()
    # An outcome that overtakes its prediction waits up to a second, so evidence comes by the bot.
    trading = asyncio.create_task(trade(client, market, concurrency=32, done=done))
    deadline_s = time.monotonic() + seconds
    try:
        while (analysis := await client.get_ab_test_analysis(name))["status"] != "completed":
            assert time.monotonic() < deadline_s, analysis["recommendation"]
            await asyncio.sleep(0.5)
    finally:
        done.set()
        answers, _ = await trading
    return answers, analysis


async def test_life_of_experiment(client, experiment):
    """From its creation on an experiment splits requests and counts outcomes, until its final
    analysis."""
    await create(client, experiment)
    assert (await client.predict("EURUSD", WINDOW, model_version="1.1.0"))["variant"] is None
    answers, acknowledged = await trade(client, favours("treatment"), seconds=4)
    seen = Counter(answer["variant"] for answer in answers)
    assert set(seen) == {"control", "treatment"}
    assert {answer["variant"]: answer["model_version"] for answer in answers} == {
        "control": "1.0.0",
        "treatment": "1.1.0",
    }
    analysis = await client.get_ab_test_analysis(experiment)
    for variant, accuracy in (("control", 0.0), ("treatment", 1.0)):
        assert analysis[variant]["samples"] == analysis[variant]["labelled"] == seen[variant]
        assert analysis[variant]["accuracy"] == accuracy
        assert analysis[variant]["error_rate"] == 0
    assert len(acknowledged) == sum(seen.values())
    assert analysis["sample_ratio"]["healthy"]
    assert [ab_test["status"] for ab_test in await client.list_ab_tests()][-1] == "running"
    final = await client.stop_ab_test(experiment)
    assert final["status"] == "completed"
    assert final["control"]["labelled"] == seen["control"]
    assert (await client.predict("EURUSD", WINDOW))["variant"] is None


async def test_outcomes(client, experiment):
    """Late, repeated, contradicting and unknown outcomes are each reported as such."""
    await create(client, experiment)
    answer = await client.predict("EURUSD", WINDOW)
    prediction_id = answer["prediction_id"]
    assert await client.record_outcome(prediction_id, 0.01)
    assert await client.record_outcome(prediction_id, 0.01)
    with pytest.raises(ServerRejectedError, match="409 outcome_conflict"):
        await client.record_outcome(prediction_id, 0.02)
    with pytest.raises(ServerRejectedError, match="404 unknown_prediction"):
        await client.record_outcome("never-requested", 0.01)
    listed = await client.record_outcomes([(prediction_id, 0.01), ("never-requested", 0.0)])
    assert (listed["accepted"], listed["duplicates"], listed["unknown"]) == (
        0,
        1,
        ["never-requested"],
    )
    final = await client.stop_ab_test(experiment)
    assert sum(final[variant]["labelled"] for variant in ("control", "treatment")) == 1


async def test_rejected_experiments(client, experiment):
    """An experiment that cannot run is rejected with the reason."""
    await create(client, experiment)
    refusals = {
        "409 experiment_conflict": {"name": experiment},
        "is running on model": {"name": "another"},
        "404 not_registered": {"name": "another", "treatment": "9.9.9"},
        "422 invalid_request": {"name": "another", "traffic_split": 1.5},
    }
    for words, fields in refusals.items():
        with pytest.raises(ServerRejectedError, match=words):
            await create(client, **fields)
    with pytest.raises(ServerRejectedError, match="404 no_such_experiment"):
        await client.get_ab_test_analysis("never-begun")


async def test_automatic_rollback(client, experiment):
    """With `auto_apply` a losing treatment is rolled back."""
    await create(client, experiment, auto_apply=True, min_samples=20, horizon_s=0.1)
    _, final = await traded_to_its_end(client, experiment, favours("control"))
    assert final["recommendation"]["action"] == "rollback"
    assert (await client.predict("EURUSD", WINDOW))["variant"] is None
    stages = {model["version"]: model["stage"] for model in await client.list_models()}
    assert stages["1.0.0"] == "Production"


async def test_automatic_promotion(cluster, client, experiment, registry):
    """With `auto_apply` a winning treatment is promoted while bots keep trading."""
    try:
        await create(
            client,
            experiment,
            auto_apply=True,
            min_samples=20,
            horizon_s=0.1,
            max_latency_degradation_ms=500,
            max_error_rate_increase=0.2,
        )
        answers, final = await traded_to_its_end(client, experiment, favours("treatment"))
        assert final["recommendation"]["action"] == "promote", final["recommendation"]
        answer = await client.predict("EURUSD", WINDOW)
        assert (answer["variant"], answer["model_version"]) == (None, "1.1.0")
        history = await registry.history(NAME)
        assert history[-1].by == f"experiment {experiment}"
        assert all("prediction" in answer for answer in answers)
    finally:
        await registry.promote_to_production(NAME, "1.0.0")
        await registry.set_model_stage(NAME, "1.1.0", ModelStage.STAGING)
        await client.reload_model(NAME)
        await client.reload_model(NAME, "staging")


async def test_backup(cluster, client, experiment, tmp_path):
    """A backup of the running server holds the served versions, and verdicts in every detail."""
    await create(client, experiment)
    await trade(client, favours("treatment"), seconds=2)
    final = await client.stop_ab_test(experiment)
    before = await client.predict("EURUSD", WINDOW)

    def settings_of(root):
        return [AppSettings(registry_root=str(root), versions=[{"model": NAME}])]

    await asyncio.to_thread(
        back_up, settings_of(cluster.folder / "models"), tmp_path / "backup.tar"
    )
    root = tmp_path / "models"
    restore(tmp_path / "backup.tar", settings_of(root))
    (database,) = root.glob(".experiments-*.db")
    with ExperimentStore(f"sqlite:///{database}") as store:
        assert store.experiment(experiment).final_report == final
    version = await ModelRegistry(root).get_model(NAME, stage=ModelStage.PRODUCTION)
    content = version.artifact_path("model.onnx").read_bytes()
    predictor = load_predictor(content, version.metadata, num_threads=1)
    outputs = predictor(np.array(WINDOW, dtype=np.float32).reshape(1, 60, 110))
    assert outputs["confidence"].item() == pytest.approx(before["prediction"]["confidence"])


async def health(client):
    url = f"{client.server_url}/health"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.json()


async def health_reaches(client, problems):
    async with asyncio.timeout(30):
        while (await health(client))["problems"] != problems:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_moved_database(cluster, client, experiment):
    """While the database is elsewhere, predictions are served and no outcome is acknowledged."""
    await create(client, experiment)
    before = await client.predict("EURUSD", WINDOW)
    assert await client.record_outcome(before["prediction_id"], 0.01)
    (path,) = (cluster.folder / "models").glob(".experiments-*.db")
    elsewhere = path.rename(path.with_name("elsewhere.db"))
    try:
        await health_reaches(client, ["experiment_log"])
        assert (await health(client))["status"] == "degraded"
        meanwhile = await client.predict("EURUSD", WINDOW)
        with pytest.raises(ServerRejectedError, match=r"503 storage_unavailable.*move it back"):
            await client.record_outcome(meanwhile["prediction_id"], 0.01)
    finally:
        elsewhere.rename(path)
    await health_reaches(client, [])
    assert await client.record_outcome(meanwhile["prediction_id"], 0.01)
    assert await client.record_outcome(before["prediction_id"], 0.01)
    final = await client.stop_ab_test(experiment)
    assert sum(final[variant]["labelled"] for variant in ("control", "treatment")) == 2


@pytest.mark.parametrize("mirrored", [False, True])
async def test_kills(cluster, client, experiment, mirrored):
    """No acknowledged outcome is lost or counted twice when the log and the fleet are killed."""
    mode = {"mode": "mirror"} if mirrored else {"assignment": "unit_id"}
    await create(client, experiment, **mode)
    trading = asyncio.create_task(trade(client, lambda answer: 0.01, seconds=12, concurrency=2))
    for victim in ("ray::ExperimentLogActor", "ray::ServeReplica:trading-models:Fleet"):
        await asyncio.sleep(3)
        for process in await asyncio.to_thread(cluster.find, victim):
            process.send_signal(signal.SIGKILL)
    answers, acknowledged = await trading
    assert len(acknowledged) == len(answers) > 0
    assert all(answer["variant"] in ("control", "treatment") for answer in answers)
    analysis = await client.get_ab_test_analysis(experiment)
    labelled = {variant: analysis[variant]["labelled"] for variant in ("control", "treatment")}
    if mirrored:
        assert labelled == {"control": len(acknowledged), "treatment": len(acknowledged)}
    else:
        assert sum(labelled.values()) == len(acknowledged)
        units = analysis["units"]  # they named no bot: each request is a separate unit
        assert {variant: units[variant]["labelled"] for variant in labelled} == labelled


async def test_sticky_units(cluster, client, experiment):
    """A unit keeps its variant when the router is killed."""
    await create(client, experiment, assignment="unit_id")

    async def variants():
        answers = [
            await client.predict("EURUSD", WINDOW, unit_id=f"bot-{unit}") for unit in range(30)
        ]
        return [answer["variant"] for answer in answers]

    before = await variants()
    assert set(before) == {"control", "treatment"}
    (router,) = await asyncio.to_thread(cluster.replicas, "Router")
    router.send_signal(signal.SIGKILL)
    assert await variants() == before
    await asyncio.sleep(1)  # longer than a router buffers its records
    analysis = await client.get_ab_test_analysis(experiment)
    seen = {variant: analysis["units"][variant]["seen"] for variant in ("control", "treatment")}
    assert seen == {variant: before.count(variant) for variant in ("control", "treatment")}
    assert analysis["sample_ratio"]["counts"] == seen
