"""The whole graph over real HTTP: HAProxy, router, replicas, registry actor."""

import asyncio
import io
import json
import signal
import subprocess
import sys
import time

import aiohttp
import numpy as np
import pytest
from pydantic import TypeAdapter

from examples.eurusd.data import load_bars
from examples.eurusd.dataset import make_samples
from registry import ModelStage
from registry.architectures import load_checkpoint
from serve_app.api.rest import schemas
from serve_app.client import ModelClient
from testkit.metrics import predictions
from tests.integration.conftest import NAME, serving_args

REQUESTS = 5
ALL = {f"{NAME}:{version}" for version in ("1.0.0", "1.1.0", "1.2.0")}


@pytest.fixture(scope="module")
def windows():
    """Real windows of EURUSD bars, (16, 60, 110)."""
    return np.ascontiguousarray(make_samples(load_bars()).windows[::300][:16])


@pytest.fixture
async def client(cluster):
    async with ModelClient(
        cluster.url, raise_errors=True, timeout_s=20, batch_timeout_s=20
    ) as client:
        yield client


@pytest.fixture(scope="module")
def networks(registry):
    def load(version):
        info = asyncio.run(registry.get_model(NAME, version))
        return load_checkpoint(info.artifact_path("model.pt"), "HybridCNNLSTM")

    return {version: load(version) for version in ("1.0.0", "1.1.0")}


def expected(network, window):
    import torch

    with torch.inference_mode():
        outputs = network(torch.from_numpy(window[None]))
    return {
        "direction": int(outputs.direction_logits.argmax()),
        "confidence": pytest.approx(float(outputs.confidence), abs=1e-4),
        "expected_return": pytest.approx(float(outputs.expected_return), abs=1e-4),
    }


async def test_outputs_equal_the_network(client, windows, networks):
    """The served prediction equals the PyTorch network's own output on real windows."""
    for window in windows:
        answer = await client.predict(symbol="EURUSD", features=window)
        schemas.PredictResponse.model_validate_json(json.dumps(answer))
        assert (answer["symbol"], answer["model_version"]) == ("EURUSD", "1.0.0")
        assert answer["prediction"] == expected(networks["1.0.0"], window)


async def test_onnx_equals_pytorch(client, windows):
    """Version 1.2.0 has the weights of 1.0.0 without an ONNX file, so PyTorch serves it."""
    for window in windows:
        onnx = await client.predict("EURUSD", window, model_version="1.0.0")
        torch = await client.predict("EURUSD", window, model_version="1.2.0")
        assert (onnx["model_version"], torch["model_version"]) == ("1.0.0", "1.2.0")
        for key in ("confidence", "expected_return"):
            assert onnx["prediction"][key] == pytest.approx(torch["prediction"][key], abs=1e-4)
        assert onnx["prediction"]["direction"] == torch["prediction"]["direction"]


@pytest.mark.parametrize(
    ("reference", "version"),
    [("production", "1.0.0"), ("staging", "1.1.0"), ("1.0.0", "1.0.0"), ("1.1.0", "1.1.0")],
)
async def test_named_version(client, windows, networks, reference, version):
    """A request that names a version or a stage receives that version's prediction."""
    answer = await client.predict("EURUSD", windows[0], NAME, reference)
    assert answer["model_version"] == version
    assert answer["prediction"] == expected(networks[version], windows[0])


async def test_concurrent_requests(client, windows, networks):
    """Requests that share a batch never share a response."""
    order = list(range(len(windows))) * 6
    answers = await asyncio.gather(*(client.predict(str(i), windows[i]) for i in order))
    wanted = [expected(networks["1.0.0"], window) for window in windows]
    assert [answer["symbol"] for answer in answers] == [str(i) for i in order]
    assert [answer["prediction"] for answer in answers] == [wanted[i] for i in order]


async def test_batch(client, windows, networks):
    """A batch body keeps order and versions, and only its invalid item fails."""
    requests = [
        {"symbol": str(i), "features": windows[i], "model_version": ("1.0.0", "1.1.0")[i % 2]}
        for i in range(8)
    ]
    requests[3] = {"symbol": "3", "features": [1.0, 2.0]}
    answers = await client.batch_predict(requests)
    assert [answer["symbol"] for answer in answers] == [str(i) for i in range(8)]
    assert answers[3]["error"]["code"] == "invalid_features"
    for i in (0, 1, 2, 4, 5, 6, 7):
        version = ("1.0.0", "1.1.0")[i % 2]
        assert answers[i]["model_version"] == version
        assert answers[i]["prediction"] == expected(networks[version], windows[i])


async def test_content_types(cluster, windows):
    """Every content type yields the same prediction, and `timings` reports its sections."""
    window = windows[0].astype("<f4")
    file = io.BytesIO()
    np.save(file, window)
    forms = {
        "application/json": json.dumps({"symbol": "EURUSD", "features": window.tolist()}).encode(),
        "application/octet-stream": window.tobytes(),
        "application/x-npy": file.getvalue(),
    }
    answers = []
    async with aiohttp.ClientSession() as session:
        for content_type, body in forms.items():
            query = "" if content_type == "application/json" else "?symbol=EURUSD&timings=true"
            async with session.post(
                f"{cluster.url}/api/ml/predict{query}",
                data=body,
                headers={"Content-Type": content_type},
            ) as answer:
                answers.append(await answer.json())
    plain, *timed = answers
    assert [answer["prediction"] for answer in timed] == [plain["prediction"]] * 2
    assert "timings" not in plain
    for answer in timed:
        spent = answer["timings"]
        assert spent["model_ms"] > 0
        assert spent["batch_wait_ms"] >= 0
        assert spent["queue_ms"] > 0
        inside = sum(spent.values()) - spent["read_ms"] - spent["serialise_ms"]
        assert inside <= answer["latency_ms"]


async def test_fast_path(cluster, windows):
    """Predictions take the fast path, where Serve adds no X-Request-ID, and the router counts
    them."""
    await asyncio.sleep(cluster.metrics_age_s + 1)  # until earlier requests are exported
    before = predictions(cluster)
    async with aiohttp.ClientSession(cluster.url) as session:
        for _ in range(REQUESTS):
            raw = {"Content-Type": schemas.RAW}
            query = {"symbol": "EURUSD"}
            async with session.post(
                "/api/ml/predict", params=query, data=windows[0].tobytes(), headers=raw
            ) as answer:
                assert (answer.status, "X-Request-ID" in answer.headers) == (200, False)
        async with session.get("/api/ml/models") as answer:
            assert (answer.status, "X-Request-ID" in answer.headers) == (200, True)
    deadline_s = time.monotonic() + 60
    wanted = {metric: count + REQUESTS for metric, count in before.items()}
    counted = before
    while counted != wanted and time.monotonic() < deadline_s:
        await asyncio.sleep(1)
        counted = predictions(cluster)
    assert counted == wanted


async def test_models_and_health(client):
    """The listing and the health check report the loaded versions and their stages."""
    listed = await client.list_models()
    TypeAdapter(list[schemas.ModelEntry]).validate_python(listed)
    assert {entry["version"]: entry["stage"] for entry in listed} == {
        "1.0.0": "Production",
        "1.1.0": "Staging",
        "1.2.0": "None",
    }
    assert all(entry["loaded"] for entry in listed)
    assert await client.health_check()


HANDLES = f"""
import asyncio, numpy as np, ray
from ray import serve

async def main():
    window = np.zeros((60, 110), dtype=np.float32)
    router = serve.get_app_handle("trading-models")
    answer = await router.predict.remote(symbol="A", features=window, model_version="1.0.0")
    prefix = "trading-models:{NAME}:1.0.0"
    names = [name for name in serve.status().applications if name.startswith(prefix)]
    version = serve.get_app_handle(*names)
    prediction = await version.predict.remote(window)
    assert answer["model_version"] == "1.0.0", answer
    assert answer["prediction"]["direction"] == prediction.direction
    assert abs(answer["prediction"]["confidence"] - prediction.confidence) < 1e-6

ray.init(namespace="serve", log_to_driver=False)
asyncio.run(main())
"""


@pytest.mark.parametrize("with_flags", [True, False])
def test_handles(cluster, with_flags):
    """A driver reaches the router and a version by handle, with all its flags or only the token."""
    environment = cluster.environment if with_flags else cluster.client_environment
    done = subprocess.run(
        [sys.executable, "-c", HANDLES],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


BAD_WINDOWS = f"""
import asyncio, numpy as np, ray
from ray import serve
from serve_app.errors import InvalidFeaturesError

async def main():
    prefix = "trading-models:{NAME}:1.0.0"
    names = [name for name in serve.status().applications if name.startswith(prefix)]
    version = serve.get_app_handle(*names)
    for bad in (np.zeros((60, 109)), np.full((60, 110), np.nan), [["x"]]):
        for _ in range(40):
            try:
                await version.predict.remote(bad)
            except InvalidFeaturesError:
                continue
            except Exception as error:
                assert isinstance(error.cause, InvalidFeaturesError), error
                continue
            raise AssertionError("answered")

ray.init(namespace="serve", log_to_driver=False)
asyncio.run(main())
"""


async def test_invalid_window_by_handle(cluster, client, windows, networks):
    """An invalid window sent by handle fails alone; the other requests of its batch succeed."""
    wanted = expected(networks["1.0.0"], windows[0])
    research = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BAD_WINDOWS, env=cluster.environment, stderr=asyncio.subprocess.PIPE
    )
    done = asyncio.create_task(research.communicate())
    while not done.done():
        answers = await asyncio.gather(*(client.predict("A", windows[0]) for _ in range(8)))
        assert [answer["prediction"] for answer in answers] == [wanted] * 8
    _, errors = await done
    assert research.returncode == 0, errors.decode()


async def test_large_batch(client, windows, networks):
    """A body may hold more windows than one gRPC message, whatever batch size it names."""
    requests = [{"symbol": "A", "features": windows[i % 16]} for i in range(180)]
    answers = await client.batch_predict(requests, max_batch_size=1000)
    wanted = [expected(networks["1.0.0"], window) for window in windows]
    assert [answer["prediction"] for answer in answers] == [wanted[i % 16] for i in range(180)]


async def test_killed_replica(cluster, client, windows):
    """While a killed replica is replaced, a request waits or receives a 503, which the client
    retries."""
    (replica,) = cluster.replicas(f"{NAME}:1.0.0")
    replica.send_signal(signal.SIGKILL)
    deadline_s = time.monotonic() + 90
    while cluster.replicas(f"{NAME}:1.0.0") in ([], [replica]):
        assert time.monotonic() < deadline_s, "the replica did not come back"
        answer = await client.predict("EURUSD", windows[0])
        assert answer["model_version"] == "1.0.0"
    cluster.wait_until_serving(ALL)


TIGHT = {"batching": {"max_batch_size": 1}, "max_ongoing_requests": 1, "max_queued_requests": 1}


async def expect_overload(cluster, window):
    """Send far more requests than the limits allow: each succeeds or receives a 503 with
    Retry-After."""
    body = {"symbol": "EURUSD", "features": window.tolist()}
    statuses = set()

    async def post(session):
        allowed = {"X-Deadline-Ms": "20000"}
        async with session.post(
            f"{cluster.url}/api/ml/predict", json=body, headers=allowed
        ) as answer:
            statuses.add(answer.status)
            if answer.status == 503:
                assert answer.headers["Retry-After"] == "1"
                assert (await answer.json())["error"]["code"] == "overloaded"

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(post(session) for _ in range(64)))
    assert statuses == {200, 503}


async def test_redeploy_after_promotion(cluster, client, registry, windows):
    """Promotion, then `serve deploy`.

    Production moves to 1.1.0 and a trading bot loses no request.
    """
    served = set()
    done = asyncio.Event()

    async def ask():
        while not done.is_set():
            served.add((await client.predict("EURUSD", windows[0]))["model_version"])

    bot = asyncio.create_task(ask())
    try:
        await registry.promote_to_production(NAME, "1.1.0")
        edited = serving_args(versions=[{"model": NAME, **TIGHT}])
        await asyncio.to_thread(cluster.deploy, edited)
        await asyncio.to_thread(cluster.wait_until_serving, {f"{NAME}:1.1.0"})
    finally:
        done.set()
        await bot
    assert served == {"1.0.0", "1.1.0"}
    assert (await client.predict("EURUSD", windows[0]))["model_version"] == "1.1.0"
    await expect_overload(cluster, windows[0])
    await registry.promote_to_production(NAME, "1.0.0")
    await registry.set_model_stage(NAME, "1.1.0", ModelStage.STAGING)
    await asyncio.to_thread(cluster.deploy, serving_args())
    await asyncio.to_thread(cluster.wait_until_serving, ALL)


async def test_invalid_configuration(cluster, client, windows):
    """A configuration that cannot be served reports why, and the previous one keeps serving."""
    mistakes = {
        "versions.0.replicas": {"versions": [{"model": NAME, "replicas": 2}]},
        "has no version '9.9.9'": {"versions": [{"model": NAME, "version": "9.9.9"}]},
        "no folder at": {"registry_root": "nowhere"},
    }
    for problem, changes in mistakes.items():
        cluster.deploy(serving_args(**changes))
        deadline_s = time.monotonic() + 90
        while (status := cluster.status())["status"] != "DEPLOY_FAILED":
            assert time.monotonic() < deadline_s, status
        assert problem in status["message"]
    cluster.wait_until_serving(ALL)
    (replica,) = cluster.replicas(f"{NAME}:1.0.0")
    replica.kill()
    replica.wait(timeout=10)
    # Only a new replica can answer this, and it needs its registry to start.
    answer = await client.predict("EURUSD", windows[0], model_version="1.0.0")
    assert answer["model_version"] == "1.0.0"
    cluster.deploy(serving_args())
    cluster.wait_until_serving(ALL)
