"""The complete path from bars to a registered version, on few bars with a small network."""

import asyncio
import sys

import numpy as np
import pytest
import typer

from examples.eurusd.features import FEATURE_SET
from examples.eurusd.train import MODEL_NAME, Plan, main, train_and_register
from examples.eurusd.training import TrainingSettings, evaluate
from features.errors import UnknownFeatureSetError
from optimization.measurement.parity import require_parity
from optimization.networks import torch_model
from optimization.runtime import OnnxModel
from registry import ModelRegistry, ModelStage
from registry.architectures import load_checkpoint
from serve_app.feature_sets import require_installed
from testkit.paths import ROOT

pytestmark = pytest.mark.slow

SMALL = TrainingSettings(lstm_hidden_size=8, lstm_layers=1, max_epochs=2)
PLANS = [
    Plan(version="1.0.0", stage=ModelStage.PRODUCTION, description="a", settings=SMALL),
    Plan(version="1.1.0", stage=ModelStage.STAGING, description="b", settings=SMALL),
]


@pytest.fixture(scope="module")
def root(few_bars, declared, tmp_path_factory):
    """A registry with both versions."""
    root = tmp_path_factory.mktemp("models")
    asyncio.run(train_and_register(ModelRegistry(root), few_bars, PLANS))
    return root


async def test_registered_versions(root):
    """Both versions are registered in their stages with complete metadata."""
    registry = ModelRegistry(root)
    production = (await registry.get_production_model(MODEL_NAME)).metadata
    staging = (await registry.get_staging_model(MODEL_NAME)).metadata
    assert (production.version, staging.version) == ("1.0.0", "1.1.0")
    assert production.model_type == "HybridCNNLSTM"
    assert production.input_shape == (60, 110)
    assert production.feature_set.feature_names == FEATURE_SET.feature_names
    assert production.feature_set.checked_on.startswith("1000 bars from 2017-01-01T22:00:00Z")
    require_installed(production)
    assert production.label_map == {0: "HOLD", 1: "BUY", 2: "SELL"}
    assert set(production.artifacts) == {"model.pt", "model.onnx", "windows.npz"}
    assert {"accuracy", "majority_accuracy", "f1_score", "total_pnl"} <= set(production.metrics)
    assert {"source", "train", "test", "test_use"} <= set(production.dataset_info)
    assert production.dataset_info["horizon_bars"] == 4
    assert len(production.dataset_info["manifest_sha256"]) == 64


async def test_parity(root, split):
    """Checkpoint and ONNX file agree on real windows at every batch size."""
    info = await ModelRegistry(root).get_model(MODEL_NAME, "1.0.0")
    network = load_checkpoint(info.artifact_path("model.pt"), info.metadata.model_type)
    exported = OnnxModel(info.artifact_path("model.onnx"))
    for batch in (1, 2, 7, 32):
        windows = np.ascontiguousarray(split.test.windows[:batch])
        require_parity(torch_model(network), exported, windows, tolerance=1e-4)


async def test_registered_figures(root, split):
    """The registered network has the registered figures."""
    info = await ModelRegistry(root).get_model(MODEL_NAME, "1.0.0")
    network = load_checkpoint(info.artifact_path("model.pt"), info.metadata.model_type)
    assert evaluate(network, split.test) == pytest.approx(info.metadata.metrics)


def test_if_empty(root, capsys):
    """`--if-empty` does nothing if the model is registered."""
    main(registry_root=root, if_empty=True)
    assert "already: 1.0.0, 1.1.0" in capsys.readouterr().out


def test_second_training(root):
    """A second training into the same registry is rejected before it starts."""
    with pytest.raises(typer.Exit) as caught:
        main(registry_root=root, if_empty=False)
    assert caught.value.exit_code == 1


def test_not_installed(tmp_path, few_bars, monkeypatch):
    """Without the feature set, nothing is trained; the error has the remedy."""
    monkeypatch.setattr(sys, "path", [str(ROOT)])
    with pytest.raises(UnknownFeatureSetError, match=r"'eurusd_hourly'.*install the distribution"):
        asyncio.run(train_and_register(ModelRegistry(tmp_path), few_bars, PLANS))
    assert not list(tmp_path.iterdir())
