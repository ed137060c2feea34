"""One Ray cluster for all integration tests, serving three versions of a real network."""

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
import torch

from optimization.export.exporter import export_onnx
from registry import ModelRegistry, ModelStage
from registry.architectures import HybridCNNLSTM, save_checkpoint
from testkit.cluster import Cluster
from testkit.feature_sets import declare_example
from testkit.paths import ROOT

NAME = "hybrid_cnn_lstm"
FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Mark the tests that need a cluster."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def folder():
    """A folder with a short name: Ray's sockets below it have at most 107 characters."""
    path = Path(tempfile.mkdtemp(prefix="ts-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def registry(folder):
    """1.0.0 in production, 1.1.0 in staging, and 1.2.0: the weights of 1.0.0 without ONNX."""
    registry = ModelRegistry(folder / "models")
    asyncio.run(_fill(registry, folder))
    return registry


async def _fill(registry, folder):
    for version, seed, with_onnx in (("1.0.0", 0, True), ("1.1.0", 1, True), ("1.2.0", 0, False)):
        torch.manual_seed(seed)
        network = HybridCNNLSTM()
        checkpoint = folder / f"{version}.pt"
        save_checkpoint(network, checkpoint)
        artifacts = {}
        if with_onnx:
            artifacts["model.onnx"] = folder / f"{version}.onnx"
            export_onnx(network, artifacts["model.onnx"], (60, 110))
        await registry.register_model(
            NAME, version, checkpoint, "HybridCNNLSTM", metrics={"seed": seed}, artifacts=artifacts
        )
    await registry.promote_to_production(NAME, "1.0.0")
    await registry.set_model_stage(NAME, "1.1.0", ModelStage.STAGING)


def serving_args(**changes):
    """Return the application's settings; the registry's folder is relative, as in the README."""
    versions = [
        {"model": NAME, "version": version} for version in ("production", "staging", "1.2.0")
    ]
    return {"registry_root": "models", "versions": versions, **changes}


@pytest.fixture(scope="session")
def cluster(folder, registry):
    declare_example(folder / "site")
    cluster = Cluster(folder, metrics_period_s=3.0)
    cluster.environment["PYTHONPATH"] = f"{folder / 'site'}:{ROOT}"
    try:
        cluster.start()
        cluster.deploy_by_command(serving_args())
        cluster.wait_until_serving({f"{NAME}:{version}" for version in ("1.0.0", "1.1.0", "1.2.0")})
        yield cluster
    finally:
        cluster.stop()
