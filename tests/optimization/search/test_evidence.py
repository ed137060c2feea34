"""The evidence of a search and the names of its files."""

import json
from datetime import UTC, datetime

import numpy as np
import onnx
import pytest

from optimization.measurement.machine import this_machine
from optimization.search import evidence_keys as keys
from optimization.search.evidence import artifact_name, published, samples_document, summary


def test_summary(found):
    """The evidence is JSON, covers all variants and agrees with the raw samples."""
    time = datetime(2026, 1, 2, tzinfo=UTC)
    evidence = summary(found, "model.onnx", this_machine(), time, "samples.json")
    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence
    document = json.loads(samples_document(found, evidence))
    samples = document.pop("samples")
    assert document == evidence
    assert evidence["machine"]["cores"] >= 1
    by_name = {variant["variant"]: variant for variant in evidence["variants"]}
    assert by_name.keys() == found.evaluated.keys()
    assert by_name["int8-dynamic-lstm"][keys.BATCH_DEPENDENCE][keys.DEPENDS_ON_BATCH]
    for sample in samples:
        figures = next(
            timing
            for timing in by_name[sample["variant"]]["timings"]
            if (timing["num_threads"], timing["batch"]) == (sample["num_threads"], sample["batch"])
        )
        assert figures["p95_ms"] == pytest.approx(np.percentile(sample["samples_ms"], 95), rel=1e-3)
        assert figures["samples"] == len(sample["samples_ms"]) >= 30


def test_published_names(found):
    """Published names depend on the content, except that of the source artifact."""
    files = published(found, "model.onnx")
    name = artifact_name(found.chosen, "model.onnx")
    assert name in files or name == "model.onnx"
    for content in files.values():
        onnx.checker.check_model(content)
    assert artifact_name(found.evaluated["fp32"], "model.onnx") == "model.onnx"
