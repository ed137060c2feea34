"""The search: files within the tolerance first, then the fastest of them."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from torch import nn

from optimization.errors import InvalidInputError, InvalidModelError, ParityError
from optimization.export.exporter import export_onnx
from optimization.graph import optimize_graph
from optimization.measurement.parity import Tolerance
from optimization.measurement.windows import noise
from optimization.runtime import GraphLevel
from optimization.search.pareto import Goal
from optimization.search.search import search
from tests.optimization.search.searches import evaluation, settings


@pytest.fixture
def windows():
    """Return 320 windows, two thirds of which are for the evaluation."""
    return noise((12, 6), 320)


def test_evaluated_variants(found):
    """Variants of every kind are evaluated, and timed if they are within the tolerance."""
    names = set(found.evaluated)
    assert {"fp32", "fp32-graph", "fp16-weights", "int8-dynamic-lstm"} <= names
    assert {"int8-rowwise-lstm", "int8-static-matmul"} <= names
    for variant in found.evaluated.values():
        assert (variant.refused is None) == bool(variant.timings)
        assert variant.parity.keys() == {"alone", "batched"}
    assert set(found.evaluated["fp32"].timings) == {(1, 1), (1, 4)}
    assert "half-precision" in found.skipped["fp16"]


def test_batch_dependence(exported, windows):
    """A dependent file is recommended only if allowed.

    The smallest file is a dynamic one, by the few bytes that the row-wise loop takes.
    """
    for allowed in (False, True):
        chosen = search(
            exported.read_bytes(),
            exported,
            evaluation(windows),
            settings(goal=Goal.SIZE, allow_batch_dependence=allowed),
        ).chosen
        assert chosen.variant.is_quantized
        assert allowed or not chosen.batch_dependence.depends


def test_noise(exported):
    """No quantised file is recommended on noise."""
    noisy = evaluation(noise((12, 6), 90), is_real=False)
    found = search(exported.read_bytes(), exported, noisy, settings(goal=Goal.SIZE))
    assert found.recommended.name == "fp16-weights"
    assert "without real windows" in found.why


@pytest.mark.parametrize(
    ("few", "reason"),
    [
        (noise((12, 6), 6), "with 4 different windows to evaluate on, fewer than 200,"),
        (np.tile(noise((12, 6), 6), (60, 1, 1)), "with 6 different windows"),
        (noise((12, 6), 320) * np.float32(1e-12), "the outputs do not vary"),
    ],
    ids=["few", "equal", "nearly zero"],
)
def test_weak_windows(exported, few, reason):
    """No quantised file is recommended on few, equal or constant windows."""
    found = search(exported.read_bytes(), exported, evaluation(few), settings(goal=Goal.SIZE))
    assert not found.chosen.variant.is_quantized
    assert reason in found.why
    assert found.recommended in found.front


def flat(path):
    layers = (nn.Linear(72, 128), nn.ReLU(), nn.Linear(128, 64))
    export_onnx(nn.Sequential(*layers), path, (72,))
    return path.read_bytes()


def test_flat_rows(tmp_path, windows):
    """A model of flat rows is evaluated on flat rows."""
    path = tmp_path / "m.onnx"
    found = search(flat(path), path, evaluation(windows), settings(runs=5, batches=(1,)))
    assert found.evaluation.windows.shape[1:] == (72,)
    assert any(name.startswith("int8") for name in found.evaluated)


def test_equal_files(tmp_path, windows):
    """A variant with the same content as an earlier one is skipped."""
    path = tmp_path / "m.onnx"
    rewritten = optimize_graph(flat(path), path, GraphLevel.EXTENDED)
    found = search(rewritten, path, evaluation(windows), settings(runs=5, batches=(1,)))
    assert found.skipped["fp32-graph"] == "the same file as fp32"
    assert len({variant.content for variant in found.evaluated.values()}) == len(found.evaluated)


class Centred(nn.Module):
    """Mixes the requests of the batch."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(72, 128), nn.Linear(128, 64))

    def forward(self, windows):
        return self.layers(windows - windows.mean(0, keepdim=True))


def test_network_that_mixes_its_batch(tmp_path, windows):
    """An FP32 model whose outputs depend on the batch is an error."""
    path = tmp_path / "m.onnx"
    export_onnx(Centred(), path, (12, 6))
    with pytest.raises(ParityError, match="repeated runs of the FP32 model"):
        search(path.read_bytes(), path, evaluation(windows), settings(runs=5, batches=(1,)))


def test_refused_variant(exported, windows):
    """A variant beyond the tolerance has a reason and no timings."""
    strict = settings(tolerance=Tolerance(relative=1e-6, floor=1e-6))
    found = search(exported.read_bytes(), exported, evaluation(windows), strict)
    assert found.evaluated["int8-dynamic-lstm"].refused.startswith("the models disagree in")
    assert found.evaluated["int8-dynamic-lstm"].timings == {}
    assert found.recommended.name in ("fp32", "fp32-graph")


def test_spent_budget(exported, windows):
    """A spent budget ends the search with the variants made so far."""
    ticks = iter(range(100_000))
    found = search(
        exported.read_bytes(),
        exported,
        evaluation(windows),
        settings(budget_s=0.5, threads=(2,)),
        clock=lambda: float(next(ticks)),
    )
    assert list(found.evaluated) == ["fp32"]
    assert found.recommended.name == "fp32"
    assert "the budget was spent" in found.skipped["int8-dynamic-lstm"]
    assert "the budget was spent" in found.skipped["2 threads, batch 1"]


def test_additional_threads(exported, windows):
    """Additional numbers of threads are timed and do not affect the recommendation."""
    found = search(exported.read_bytes(), exported, evaluation(windows), settings(threads=(2,)))
    assert {threads for threads, _ in found.evaluated["fp32"].timings} == {1, 2}
    assert found.recommended.latency_ms == found.chosen.timings[1, 1].median_ms


def constant_nan():
    graph = helper.make_graph(
        [helper.make_node("Log", ["x"], ["y"])],
        "nan",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 12, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 12, 6])],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def test_nan_outputs(exported, windows):
    """An FP32 model that returns NaN is an error."""
    with pytest.raises(ParityError, match="repeated runs of the FP32 model"):
        search(constant_nan(), exported, evaluation(windows), settings())


def test_damaged_file(exported, windows):
    """A damaged FP32 model is an error."""
    with pytest.raises(InvalidModelError, match="damaged"):
        search(exported.read_bytes()[:-50], exported, evaluation(windows), settings())


@pytest.mark.parametrize(
    "fields",
    [
        {"budget_s": 0},
        {"budget_s": float("nan")},
        {"batches": (0,)},
        {"threads": (-1,)},
        {"serving_threads": 0},
    ],
)
def test_invalid_settings(fields):
    """Invalid settings are errors."""
    with pytest.raises(InvalidInputError):
        settings(**fields)


@pytest.mark.parametrize(
    "fields", [{"direction_agreement": 1.5}, {"relative": -1}, {"floor": float("inf")}]
)
def test_invalid_tolerance(fields):
    """Invalid tolerances are errors."""
    with pytest.raises(InvalidInputError):
        Tolerance(**fields)
