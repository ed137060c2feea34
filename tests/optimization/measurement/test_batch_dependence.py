"""Batch dependence: outputs that vary with the other requests of the batch."""

import numpy as np

from optimization.graph import rowwise
from optimization.measurement.batch_dependence import measure_batch_dependence
from optimization.quantization.quantize import quantize_dynamically, quantize_statically
from optimization.runtime import OnnxModel

OPERATORS = ("LSTM", "MatMul", "Gemm")


def test_batch_dependence_by_type(exported, windows):
    """Only dynamic quantisation makes outputs depend on the rest of the batch."""
    content = exported.read_bytes()
    dynamic = quantize_dynamically(content, exported, OPERATORS)
    by_row = rowwise(dynamic, exported)
    static = quantize_statically(content, exported, ("MatMul", "Gemm"), windows)
    depends = {
        name: measure_batch_dependence(OnnxModel(model), windows)
        for name, model in {
            "fp32": content,
            "dynamic": dynamic,
            "by row": by_row,
            "static": static,
        }.items()
    }
    assert {name: dependence.depends for name, dependence in depends.items()} == {
        "fp32": False,
        "dynamic": True,
        "by row": False,
        "static": False,
    }
    with_outlier = depends["dynamic"].max_abs_difference_with_outlier["direction_logits"]
    assert with_outlier > depends["dynamic"].max_abs_difference["direction_logits"]
    assert max(depends["by row"].max_abs_difference_with_outlier.values()) == 0


def test_outlier(exported, windows):
    """The outlier exceeds the largest window, even if the first one is zero."""
    dynamic = OnnxModel(quantize_dynamically(exported.read_bytes(), exported, OPERATORS))
    quiet = np.concatenate([np.zeros_like(windows[:1]), windows])
    first_is_zero = measure_batch_dependence(dynamic, quiet)
    batched = measure_batch_dependence(dynamic, windows).max_abs_difference["direction_logits"]
    assert first_is_zero.max_abs_difference_with_outlier["direction_logits"] > batched
    assert measure_batch_dependence(dynamic, np.zeros_like(windows)).depends
