"""An optimised artifact on a real cluster: the recommended artifact serves, or the pinned one."""

import asyncio
import json
import os
import subprocess

import numpy as np
import pytest

from registry.predictors import choose_artifact, load_predictor
from serve_app.client import ModelClient
from serve_app.launch.ray_token import PATH_VARIABLE
from testkit.paths import BIN
from tests.integration.conftest import NAME

VERSION = "1.2.0"
"""Has no ONNX file: PyTorch serves it, until it is optimised."""


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(8).standard_normal((360, 60, 110), dtype=np.float32)


@pytest.fixture
def modelctl(cluster):
    def run(*arguments):
        done = subprocess.run(
            [BIN / "modelctl", *arguments, "--server", cluster.address, "--json"],
            env={**os.environ, PATH_VARIABLE: cluster.client_environment[PATH_VARIABLE]},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    return run


async def answers(cluster, windows):
    """Load the version again and return (confidence, expected return) for some windows."""
    async with ModelClient(cluster.url, raise_errors=True, timeout_s=30) as client:
        await client.reload_model(NAME, VERSION)
        predictions = [
            (await client.predict("EURUSD", window, NAME, VERSION))["prediction"]
            for window in windows[:4]
        ]
    return np.array(
        [[prediction["confidence"], prediction["expected_return"]] for prediction in predictions]
    )


async def local(registry, artifact, windows):
    """Return the outputs of an artifact of the version in this process, one window at a time."""
    info = await registry.get_model(NAME, VERSION)
    metadata = info.metadata.model_copy(update={"serving_artifact": artifact})
    predictor = load_predictor(info.artifact_path(artifact).read_bytes(), metadata, num_threads=1)
    outputs = [predictor(windows[index : index + 1]) for index in range(4)]
    return np.array(
        [[output["confidence"][0, 0], output["expected_return"][0, 0]] for output in outputs]
    )


async def test_recommended_and_pinned_artifact(cluster, registry, modelctl, windows, tmp_path):
    """The recommended artifact serves, and after a pin the pinned one."""
    np.save(tmp_path / "windows.npy", windows)
    shown = await asyncio.to_thread(
        modelctl,
        *("optimize", NAME, VERSION, "--goal", "size", "--windows", tmp_path / "windows.npy"),
        *("--runs", "5", "--budget", "30", "--batches", "1", "--threads", "1"),
        # Random weights leave the classes close together.
        *("--min-agreement", "0.9", "--plot", tmp_path / "plot.png"),
    )
    recommended = shown["serving_artifact"]
    assert "int8" in recommended
    optimised, original = [
        await local(registry, name, windows) for name in (recommended, "model.pt")
    ]
    assert np.abs(optimised - original).max() > 1e-5
    assert await answers(cluster, windows) == pytest.approx(optimised, abs=1e-6)

    pinned = await asyncio.to_thread(modelctl, "pin", NAME, VERSION, "model.pt")
    assert pinned["serving_artifact"] == "model.pt"
    assert await answers(cluster, windows) == pytest.approx(original, abs=1e-6)

    await asyncio.to_thread(modelctl, "pin", NAME, VERSION)
    info = await registry.get_model(NAME, VERSION)
    assert choose_artifact(info.metadata) == "model.pt"
