"""The whole way from bars to a registered version, on little data with a small network."""

import asyncio

import numpy as np
import pytest
import torch
import typer

from examples.eurusd.dataset import make_samples, split_samples
from examples.eurusd.train import MODEL_NAME, Plan, main, train_and_register
from examples.eurusd.training import TrainingSettings, evaluate, train
from optimization.measurement.parity import require_parity, torch_model
from optimization.runtime import OnnxModel
from registry import ModelRegistry, ModelStage
from registry.architectures import load_checkpoint

SMALL = TrainingSettings(lstm_hidden_size=8, lstm_layers=1, max_epochs=2)
PLANS = [
    Plan(version="1.0.0", stage=ModelStage.PRODUCTION, description="a", settings=SMALL),
    Plan(version="1.1.0", stage=ModelStage.STAGING, description="b", settings=SMALL),
]


@pytest.fixture(scope="module")
def few_bars(bars):
    return bars[:1000]


@pytest.fixture(scope="module")
def split(few_bars):
    return split_samples(make_samples(few_bars))


@pytest.fixture(scope="module")
def root(few_bars, tmp_path_factory):
    """A registry with both versions."""
    root = tmp_path_factory.mktemp("models")
    asyncio.run(train_and_register(ModelRegistry(root), few_bars, PLANS))
    return root


async def test_both_versions_are_registered_in_their_stages_with_all_that_is_declared(root):
    registry = ModelRegistry(root)
    production = (await registry.get_production_model(MODEL_NAME)).metadata
    staging = (await registry.get_staging_model(MODEL_NAME)).metadata
    assert (production.version, staging.version) == ("1.0.0", "1.1.0")
    assert production.model_type == "HybridCNNLSTM"
    assert production.input_shape == (60, 110)
    assert production.label_map == {0: "HOLD", 1: "BUY", 2: "SELL"}
    assert set(production.artifacts) == {"model.pt", "model.onnx", "windows.npz"}
    assert {"accuracy", "majority_accuracy", "f1_score", "total_pnl"} <= set(production.metrics)
    assert {"dead_band", "horizon_bars", "bar_period_s", "source", "test", "test_use"} <= set(
        production.dataset_info
    )


async def test_checkpoint_and_onnx_file_agree_on_real_windows_at_every_batch(root, split):
    info = await ModelRegistry(root).get_model(MODEL_NAME, "1.0.0")
    network = load_checkpoint(info.artifact_path("model.pt"), info.metadata.model_type)
    exported = OnnxModel(info.artifact_path("model.onnx"))
    for batch in (1, 2, 7, 32):
        windows = np.ascontiguousarray(split.test.windows[:batch])
        require_parity(torch_model(network), exported, windows, tolerance=1e-4)


async def test_the_registered_network_has_the_registered_figures(root, split):
    info = await ModelRegistry(root).get_model(MODEL_NAME, "1.0.0")
    network = load_checkpoint(info.artifact_path("model.pt"), info.metadata.model_type)
    assert evaluate(network, split.test) == pytest.approx(info.metadata.metrics)


def test_the_same_settings_train_the_same_network(split):
    first, second = train(SMALL, split), train(SMALL, split)
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def test_training_leaves_the_callers_random_numbers_alone(split):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(SMALL, split)
    assert torch.equal(torch.rand(1), expected)


def test_the_confidence_is_calibrated_on_the_validation_part(split):
    network = train(SMALL, split).network
    figures = evaluate(network, split.validation)
    # Platt's targets are drawn in a little from 0 and 1, by one sample of each.
    assert figures["mean_confidence"] == pytest.approx(figures["accuracy"], abs=0.02)


def test_a_network_can_learn_what_can_be_learned(split):
    """Given windows that tell the label, training finds it: the pipeline is not the limit."""
    parts = {}
    for name in ("train", "validation", "test"):
        part = getattr(split, name)
        windows = np.zeros_like(part.windows)
        windows[:, :, :3] = np.eye(3, dtype=np.float32)[part.labels][:, None, :]
        parts[name] = type(part)(
            bars=part.bars, windows=windows, returns=part.returns, labels=part.labels
        )
    settings = TrainingSettings(
        lstm_hidden_size=16, lstm_layers=1, dropout=0.0, learning_rate=1e-2, max_epochs=6
    )
    assert train(settings, type(split)(**parts)).metrics["accuracy"] > 0.95


def test_if_empty_does_nothing_when_the_model_is_there(root, capsys):
    main(registry_root=root, if_empty=True)
    assert "already: 1.0.0, 1.1.0" in capsys.readouterr().out


def test_a_second_training_into_the_same_registry_is_refused_before_it_starts(root):
    with pytest.raises(typer.Exit) as caught:
        main(registry_root=root, if_empty=False)
    assert caught.value.exit_code == 1
