"""The evidence of a search as JSON, which the registry stores with the version."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from optimization.measurement.batch_dependence import BatchDependence
from optimization.measurement.machine import Machine
from optimization.measurement.parity import Parity
from optimization.search import evidence_keys as keys
from optimization.search.search import EvaluatedVariant, Search
from optimization.search.variants import ORIGINAL

SCHEMA_VERSION = 1


def artifact_name(variant: EvaluatedVariant, source_artifact: str) -> str:
    """Return the name under which a variant is published; it contains a digest of the content."""
    if variant.variant.name == ORIGINAL:
        return source_artifact
    digest = hashlib.sha256(variant.content).hexdigest()
    return f"model_{variant.variant.name[:44]}_{digest[:8]}.onnx"


def published(found: Search, source_artifact: str) -> dict[str, bytes]:
    """Return the content of the front and of the recommended file by artifact name."""
    candidates = [found.recommended, *found.front]
    names = dict.fromkeys(candidate.name for candidate in candidates)
    chosen = (found.evaluated[name] for name in names if name != ORIGINAL)
    return {artifact_name(variant, source_artifact): variant.content for variant in chosen}


def summary(
    found: Search, source_artifact: str, machine: Machine, time: datetime, samples_artifact: str
) -> dict[str, Any]:
    """Return the evidence for a version's metadata: everything but the raw samples.

    Args:
        found: the result of the search.
        source_artifact: the FP32 artifact from which the search started.
        machine: the machine of the measurement.
        time: the time of the search.
        samples_artifact: the artifact that holds this evidence and the raw samples.
    """
    settings, evaluation = found.settings, found.evaluation
    front = {candidate.name for candidate in found.front}
    files = published(found, source_artifact)
    return {
        "schema_version": SCHEMA_VERSION,
        "time": time.isoformat(),
        "goal": settings.goal.value,
        "source_artifact": source_artifact,
        "recommended": {
            "variant": found.recommended.name,
            "artifact": artifact_name(found.chosen, source_artifact),
            "num_threads": settings.serving_threads,
            "why": found.why,
        },
        "budget_s": settings.budget_s,
        "spent_s": round(found.spent_s, 3),
        "machine": machine.as_json(),
        "windows": {
            "source": evaluation.source,
            "real": evaluation.is_real,
            "calibration": len(evaluation.calibration),
            keys.EVALUATED: len(evaluation.windows),
            "sha256": hashlib.sha256(evaluation.windows.tobytes()).hexdigest(),
        },
        "tolerance": {
            "direction_agreement": settings.tolerance.direction_agreement,
            "relative": settings.tolerance.relative,
            "floor": settings.tolerance.floor,
        },
        "allow_batch_dependence": settings.allow_batch_dependence,
        "variants": [
            _variant(variant, name in front, source_artifact, files)
            for name, variant in found.evaluated.items()
        ],
        "skipped": dict(found.skipped),
        "samples_artifact": samples_artifact,
    }


def samples_document(found: Search, evidence: Mapping[str, Any]) -> bytes:
    """Return the evidence with all raw samples, in milliseconds and in order of measurement."""
    samples = [
        {
            "variant": name,
            "num_threads": threads,
            "batch": batch,
            "samples_ms": [round(sample, 6) for sample in timing.samples_ms],
            "warm_up_ms": [round(sample, 6) for sample in timing.warm_up_ms],
        }
        for name, variant in found.evaluated.items()
        for (threads, batch), timing in variant.timings.items()
    ]
    return json.dumps({**evidence, "samples": samples}, allow_nan=False).encode()


def _variant(
    variant: EvaluatedVariant, is_on_front: bool, source_artifact: str, files: Mapping[str, bytes]
) -> dict[str, Any]:
    artifact = artifact_name(variant, source_artifact)
    return {
        "variant": variant.variant.name,
        "description": variant.variant.description,
        "artifact": artifact if artifact in files or artifact == source_artifact else None,
        "sha256": hashlib.sha256(variant.content).hexdigest(),
        "size_bytes": len(variant.content),
        "refused": variant.refused,
        "on_pareto_front": is_on_front,
        "parity": {how: _parity(parity) for how, parity in variant.parity.items()},
        keys.BATCH_DEPENDENCE: _batch_dependence(variant.batch_dependence),
        "timings": [
            {"num_threads": threads, **_rounded(timing.as_json())}
            for (threads, _), timing in variant.timings.items()
        ],
    }


def _parity(parity: Parity) -> dict[str, Any]:
    return {
        "windows": parity.windows,
        "direction_agreement": parity.direction_agreement,
        "max_abs_difference": _finite(parity.max_abs_difference),
        "mean_abs_difference": _finite(parity.mean_abs_difference),
        "spread": _finite(parity.spread),
        "max_relative_difference": _number(parity.max_relative_difference),
    }


def _batch_dependence(dependence: BatchDependence) -> dict[str, Any]:
    return {
        keys.DEPENDS_ON_BATCH: dependence.depends,
        "max_abs_difference": _finite(dependence.max_abs_difference),
        keys.DIFFERENCE_WITH_OUTLIER: _finite(dependence.max_abs_difference_with_outlier),
        keys.DIRECTIONS_CHANGED: dependence.directions_changed,
    }


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Round to five digits, the precision of the clock and the machine."""
    return {
        key: [_number(item) for item in value]
        if isinstance(value, list)
        else _number(value)
        if isinstance(value, float)
        else value
        for key, value in figures.items()
    }


def _finite(values: Mapping[str, float]) -> dict[str, float | str]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: float) -> float | str:
    """Return a finite number as JSON, and NaN and infinity as words."""
    return float(f"{value:.5g}") if np.isfinite(value) else str(float(value))
