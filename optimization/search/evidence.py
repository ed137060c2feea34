"""What a search found, as JSON: the proof that is kept beside the files."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from optimization.measurement.batch_dependence import BatchDependence
from optimization.measurement.machine import Machine
from optimization.measurement.parity import Parity
from optimization.search.search import EvaluatedVariant, Search
from optimization.search.variants import ORIGINAL

SCHEMA_VERSION = 1


def artifact_name(variant: EvaluatedVariant, source_artifact: str) -> str:
    """Return the name under which a variant is published; other content has another name."""
    if variant.variant.name == ORIGINAL:
        return source_artifact
    digest = hashlib.sha256(variant.content).hexdigest()
    return f"model_{variant.variant.name[:44]}_{digest[:8]}.onnx"


def published(found: Search, source_artifact: str) -> dict[str, bytes]:
    """Return what is worth publishing, content by artifact name: the front and what serves."""
    names = dict.fromkeys([found.recommended.name, *(each.name for each in found.front)])
    chosen = (found.evaluated[name] for name in names if name != ORIGINAL)
    return {artifact_name(each, source_artifact): each.content for each in chosen}


def summary(
    found: Search, source_artifact: str, machine: Machine, time: datetime, samples_artifact: str
) -> dict[str, Any]:
    """Return the evidence for a version's metadata: all but the raw samples.

    Args:
        found: what was found.
        source_artifact: the FP32 artifact that was searched from.
        machine: where.
        time: when.
        samples_artifact: the artifact that holds the raw samples, and this too.
    """
    settings, evaluation = found.settings, found.evaluation
    front = {each.name for each in found.front}
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
            "judged": len(evaluation.windows),
            "sha256": hashlib.sha256(evaluation.windows.tobytes()).hexdigest(),
        },
        "tolerance": {
            "direction_agreement": settings.tolerance.direction_agreement,
            "relative": settings.tolerance.relative,
            "floor": settings.tolerance.floor,
        },
        "allow_batch_dependence": settings.allow_batch_dependence,
        "variants": [
            _variant(each, name in front, source_artifact, files)
            for name, each in found.evaluated.items()
        ],
        "skipped": dict(found.skipped),
        "samples_artifact": samples_artifact,
    }


def samples_document(found: Search, evidence: Mapping[str, Any]) -> bytes:
    """Return the evidence with every raw sample, in milliseconds and in their order."""
    samples = [
        {
            "variant": name,
            "num_threads": threads,
            "batch": batch,
            "samples_ms": [round(each, 6) for each in timing.samples_ms],
            "warm_up_ms": [round(each, 6) for each in timing.warm_up_ms],
        }
        for name, each in found.evaluated.items()
        for (threads, batch), timing in each.timings.items()
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
        "parity": {how: _parity(each) for how, each in variant.parity.items()},
        "batch_mates": _batch_mates(variant.batch_dependence),
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


def _batch_mates(mates: BatchDependence) -> dict[str, Any]:
    return {
        "answers_depend_on_batch_mates": mates.depends,
        "max_abs_difference": _finite(mates.max_abs_difference),
        "max_abs_difference_beside_a_loud_one": _finite(mates.max_abs_difference_loud),
        "directions_changed_beside_a_loud_one": mates.directions_changed,
    }


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Keep five digits: the clock and the machine give no more."""
    return {
        key: [_number(each) for each in value]
        if isinstance(value, list)
        else _number(value)
        if isinstance(value, float)
        else value
        for key, value in figures.items()
    }


def _finite(values: Mapping[str, float]) -> dict[str, float | str]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: float) -> float | str:
    """Return a number as JSON can hold it; NaN and infinity as words."""
    return float(f"{value:.5g}") if np.isfinite(value) else str(float(value))
