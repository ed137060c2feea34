"""Measures listing and resolving in a registry of 2,000 versions; the goal is under 50 ms.

A cold call uses a new reader, as in a new process, with the files in the page cache. Times are in
ms.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from registry import ModelMetadata, ModelStage
from registry.folder.reader import FolderReader
from registry.folder.registry_folder import RegistryFolder
from registry.records import DIRECTIONS

VERSIONS = 2000
NAME = "hybrid_cnn_lstm"


def run(runs: int) -> dict[str, dict[str, float]]:
    """Fill a temporary registry and measure each call `runs` times."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), VERSIONS)
        return measure(Path(folder), VERSIONS, runs)


def fill(root: Path, versions: int) -> None:
    """Write the files of a registry directly, and promote the middle version."""
    now = datetime.now(UTC)
    for number in range(versions):
        metadata = ModelMetadata(
            name=NAME,
            version=f"1.{number}.0",
            created_at=now,
            updated_at=now,
            model_type="HybridCNNLSTM",
            metrics={"accuracy": 0.5, "sharpe_ratio": 1.0, "max_drawdown": -0.1},
            training_params={"epochs": 30, "learning_rate": 0.001, "batch_size": 64},
            output_names={name: name for name in ("direction_logits", "confidence")},
            label_map={index: label for label, index in DIRECTIONS.items()},
            model_size_mb=5.0,
            artifacts={"model.pt": "0" * 64, "model.onnx": "1" * 64},
        )
        target = root / NAME / f"v{metadata.version}" / "metadata.json"
        target.parent.mkdir(parents=True)
        target.write_text(metadata.model_dump_json(indent=2))
    folder = RegistryFolder(root, check=lambda *_: None)
    folder.stages.set_stage(NAME, f"1.{versions // 2}.0", ModelStage.PRODUCTION)


def measure(root: Path, versions: int, runs: int) -> dict[str, dict[str, float]]:
    """Return the median and maximum time by call."""
    warm = FolderReader(root)
    last = f"1.{versions - 1}.0"
    calls: dict[str, Callable[[FolderReader], object]] = {
        "list": lambda reader: reader.list_versions(NAME),
        "resolve production": lambda reader: reader.get(NAME, stage=ModelStage.PRODUCTION),
        "resolve version": lambda reader: reader.get(NAME, last),
        "resolve latest": lambda reader: reader.files.versions(NAME)[-1],
    }
    results = {}
    for name, call in calls.items():
        call(warm)
        results[f"{name}, cold"] = _times(lambda call=call: call(FolderReader(root)), runs)  # type: ignore[misc]
        results[f"{name}, warm"] = _times(lambda call=call: call(warm), runs)  # type: ignore[misc]
    return results


def _times(call: Callable[[], object], runs: int) -> dict[str, float]:
    times_ms = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - began) * 1000)
    return {"median_ms": statistics.median(times_ms), "max_ms": max(times_ms)}
