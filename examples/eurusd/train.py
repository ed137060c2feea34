"""Trains two versions on the CPU, exports them to ONNX and registers them.

    python -m examples.eurusd.train [--registry models] [--if-empty]

1.0.0 goes to production and 1.1.0 to staging, ready for an experiment with both.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from examples.eurusd.data import SOURCE, DataError, load_bars
from examples.eurusd.dataset import (
    TIMESTEPS,
    Samples,
    Split,
    build_samples,
    samples_of,
    split_samples,
)
from examples.eurusd.features import FEATURE_SET
from examples.eurusd.training import Training, TrainingSettings, train
from features import Bars
from features.datasets import Manifest
from features.errors import FeatureSetError
from features.feature_sets import find_feature_set
from optimization.export.exporter import export_onnx
from registry import ModelRegistry, ModelStage, get_model_registry
from registry.architectures import save_checkpoint
from registry.feature_sets import FeatureSetRecord
from registry.records import DIRECTIONS
from registry.reference_outputs import ARTIFACT as WINDOWS_ARTIFACT
from serve_app.feature_sets import checked_record

MODEL_NAME = "hybrid_cnn_lstm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A version to train, and its stage in the registry."""

    version: str
    stage: ModelStage
    description: str
    settings: TrainingSettings


PLANS = (
    Plan(
        version="1.0.0",
        stage=ModelStage.PRODUCTION,
        description="EURUSD hourly, 4 hours ahead: the baseline.",
        settings=TrainingSettings(seed=1),
    ),
    Plan(
        version="1.1.0",
        stage=ModelStage.STAGING,
        description="EURUSD hourly, 4 hours ahead: more dropout and decay, smoothed labels.",
        settings=TrainingSettings(seed=2, dropout=0.5, weight_decay=0.3, label_smoothing=0.1),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A trained version with its files, before its registration."""

    plan: Plan
    training: Training
    checkpoint: Path
    onnx: Path
    windows: Path
    """The windows of the validation part, on which `modelctl optimize` evaluates files."""


def train_candidate(plan: Plan, split: Split, folder: Path) -> Candidate:
    """Train the version and write its checkpoint and its verified ONNX file into `folder`.

    Raises:
        OptimizationError: the outputs of the ONNX file differ from those of the network.
    """
    training = train(plan.settings, split)
    checkpoint = folder / f"{plan.version}.pt"
    onnx = folder / f"{plan.version}.onnx"
    windows = folder / "windows.npz"
    save_checkpoint(training.network, checkpoint)
    export_onnx(training.network, onnx, (TIMESTEPS, len(FEATURE_SET.feature_names)))
    # Adjacent windows share all bars but one, so compression reduces them to a fiftieth.
    np.savez_compressed(windows, windows=split.validation.windows)
    return Candidate(
        plan=plan, training=training, checkpoint=checkpoint, onnx=onnx, windows=windows
    )


async def register_candidate(
    registry: ModelRegistry,
    candidate: Candidate,
    feature_set: FeatureSetRecord,
    dataset_info: dict[str, Any],
) -> None:
    """Register the version with its feature set and its figures, and move it to its stage."""
    plan, training = candidate.plan, candidate.training
    await registry.register_model(
        name=MODEL_NAME,
        version=plan.version,
        model_path=candidate.checkpoint,
        model_type=type(training.network).__name__,
        description=plan.description,
        metrics=training.metrics,
        training_params={
            "input_size": training.network.input_size,
            **asdict(plan.settings),
            "epochs": training.epochs,
        },
        dataset_info=dataset_info,
        input_shape=(TIMESTEPS, len(FEATURE_SET.feature_names)),
        label_map={index: direction for direction, index in DIRECTIONS.items()},
        tags=["example", "eurusd"],
        feature_set=feature_set,
        artifacts={"model.onnx": candidate.onnx, WINDOWS_ARTIFACT: candidate.windows},
    )
    await registry.set_model_stage(MODEL_NAME, plan.version, plan.stage)


def describe_dataset(manifest: Manifest, bars: Bars, split: Split) -> dict[str, Any]:
    """Return the metadata of the data: the dataset, its source and the split."""

    def describe(part: Samples) -> dict[str, Any]:
        times = bars.time[part.bars[[0, -1]]].astype("datetime64[ms]").astype("datetime64[s]")
        first, last = times.astype(str)
        return {"samples": len(part), "first_bar": str(first), "last_bar": str(last)}

    return {
        **manifest.dataset_info,
        "source": SOURCE,
        "train": describe(split.train),
        "validation": describe(split.validation),
        "test": describe(split.test),
        "test_use": (
            "Not used to train, stop or calibrate. But the horizon, the dead band, one feature and "
            "the training settings were chosen after nine other trainings were evaluated on it."
        ),
    }


async def train_and_register(
    registry: ModelRegistry, bars: Bars, plans: Sequence[Plan] = PLANS
) -> list[Candidate]:
    """Train every version, then register all of them, so that a failed training registers none.

    Raises:
        FeatureSetError: the feature set is not installed, or fails its check.
        RegistryError: a version is already registered with other content.
    """
    installed = find_feature_set(FEATURE_SET.name)
    feature_set = checked_record(installed, bars, SOURCE)
    with tempfile.TemporaryDirectory() as folder:
        dataset = build_samples(installed, bars, Path(folder))
        split = split_samples(samples_of(dataset, bars))
        dataset_info = describe_dataset(dataset.manifest, bars, split)
        candidates = [
            await asyncio.to_thread(train_candidate, plan, split, Path(folder)) for plan in plans
        ]
        for candidate in candidates:
            await register_candidate(registry, candidate, feature_set, dataset_info)
    return candidates


async def published_versions(registry: ModelRegistry) -> list[str]:
    """Return the versions of the model that are already registered."""
    infos = await registry.list_models()
    return [info.metadata.version for info in infos if info.metadata.name == MODEL_NAME]


def metrics_table(candidates: Sequence[Candidate]) -> Table:
    """Return the figures of the versions on the test part side by side."""
    table = Table(title=f"{MODEL_NAME} on the test part (one position at a time, no costs)")
    table.add_column("metric")
    for candidate in candidates:
        table.add_column(candidate.plan.version, justify="right")
    names = dict.fromkeys(name for candidate in candidates for name in candidate.training.metrics)
    for name in names:
        values = (candidate.training.metrics.get(name) for candidate in candidates)
        table.add_row(name, *("undefined" if value is None else f"{value:.4f}" for value in values))
    return table


def main(
    registry_root: Annotated[
        Path, typer.Option("--registry", help="Folder of the registry.")
    ] = Path("models"),
    if_empty: Annotated[
        bool, typer.Option("--if-empty", help="Do nothing if the model is already registered.")
    ] = False,
) -> None:
    """Train two versions of the EURUSD model and register them."""
    registry = get_model_registry(registry_root)
    # Checked before the training, which takes minutes, since a registered version is immutable.
    published = asyncio.run(published_versions(registry))
    if published:
        typer.echo(f"{MODEL_NAME} is in {registry_root} already: {', '.join(published)}.")
        if if_empty:
            return
        typer.echo(
            "Registered versions are immutable; choose another folder with --registry.", err=True
        )
        raise typer.Exit(1)
    try:
        candidates = asyncio.run(train_and_register(registry, load_bars()))
    except (DataError, FeatureSetError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    Console().print(metrics_table(candidates))
    typer.echo(f"Registered in {registry_root}.")


if __name__ == "__main__":
    typer.run(main)
