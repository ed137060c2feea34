"""How long a registry of 2,000 versions takes to list and to resolve; the goal is under 50 ms.

Cold is a new reader, as in a new process; the files are in the page cache. Times are in ms.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from registry import ModelMetadata, ModelStage
from registry.folder.reader import RegistryReader
from registry.folder.writer import RegistryWriter
from registry.records import DIRECTIONS

VERSIONS = 2000
NAME = "hybrid_cnn_lstm"


def run(runs: int) -> dict[str, dict[str, float]]:
    """Fill a temporary registry and measure it, `runs` times a figure."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), VERSIONS)
        return measure(Path(folder), VERSIONS, runs)


def fill(root: Path, versions: int) -> None:
    """Write versions as the registry lays them out, the middle one in production."""
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
    writer = RegistryWriter(root, check=lambda *_: None)
    writer.set_stage(NAME, f"1.{versions // 2}.0", ModelStage.PRODUCTION)


def measure(root: Path, versions: int, runs: int) -> dict[str, dict[str, float]]:
    """Return median and maximum by what was done."""
    warm = RegistryReader(root)
    last = f"1.{versions - 1}.0"
    calls: dict[str, Callable[[RegistryReader], object]] = {
        "list": lambda reader: reader.list_versions(NAME),
        "resolve production": lambda reader: reader.get(NAME, stage=ModelStage.PRODUCTION),
        "resolve version": lambda reader: reader.get(NAME, last),
        "resolve latest": lambda reader: reader.versions(NAME)[-1],
    }
    results = {}
    for what, call in calls.items():
        call(warm)
        results[f"{what}, cold"] = _times(lambda call=call: call(RegistryReader(root)), runs)  # type: ignore[misc]
        results[f"{what}, warm"] = _times(lambda call=call: call(warm), runs)  # type: ignore[misc]
    return results


def _times(call: Callable[[], object], runs: int) -> dict[str, float]:
    times_ms = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - began) * 1000)
    return {"median_ms": statistics.median(times_ms), "max_ms": max(times_ms)}
