"""The search: what is right first, then what is fast."""

import json
from datetime import UTC, datetime

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from torch import nn

from optimization.errors import InvalidInputError, InvalidModelError, ParityError
from optimization.export.exporter import export_onnx
from optimization.graph import optimize_graph
from optimization.measurement.machine import this_machine
from optimization.measurement.parity import Tolerance
from optimization.measurement.windows import noise, split_windows
from optimization.runtime import GraphLevel
from optimization.search.evidence import artifact_name, published, samples_document, summary
from optimization.search.pareto import Goal
from optimization.search.search import SearchSettings, search

LOOSE = Tolerance(direction_agreement=0.9, relative=0.5)


def settings(**fields):
    return SearchSettings(
        **{
            "budget_s": 60,
            "runs": 40,
            "threads": (),
            "batches": (1, 4),
            "tolerance": LOOSE,
            **fields,
        }
    )


def evaluation(windows, **fields):
    return split_windows(windows, "test", **fields)


@pytest.fixture
def windows():
    """Two thirds of them judge."""
    return noise((12, 6), 320)


@pytest.fixture(scope="module")
def found(exported):
    windows = noise((12, 6), 320)
    return search(exported.read_bytes(), exported, evaluation(windows), settings())


def test_every_kind_of_variant_is_judged_and_timed(found):
    names = set(found.evaluated)
    assert {"fp32", "fp32-graph", "fp16-weights", "int8-dynamic-lstm"} <= names
    assert {"int8-rowwise-lstm", "int8-static-matmul"} <= names
    for each in found.evaluated.values():
        assert (each.refused is None) == bool(each.timings)
        assert each.parity.keys() == {"alone", "batched"}
    assert set(found.evaluated["fp32"].timings) == {(1, 1), (1, 4)}
    assert "half-precision" in found.skipped["fp16"]


def test_what_depends_on_its_batch_mates_is_not_recommended_unless_allowed(exported, windows):
    """The smallest file is a dynamic one, by the few bytes that rows one by one take."""
    for allowed in (False, True):
        chosen = search(
            exported.read_bytes(),
            exported,
            evaluation(windows),
            settings(goal=Goal.SIZE, allow_batch_dependence=allowed),
        ).chosen
        assert chosen.variant.is_quantized
        assert allowed or not chosen.batch_dependence.depends


def test_on_noise_no_quantised_file_is_recommended(exported):
    noisy = evaluation(noise((12, 6), 90), is_real=False)
    found = search(exported.read_bytes(), exported, noisy, settings(goal=Goal.SIZE))
    assert found.recommended.name == "fp16-weights"
    assert "without real windows" in found.why


@pytest.mark.parametrize(
    ("few", "said"),
    [
        (noise((12, 6), 6), "with 4 different windows to judge by, fewer than 200,"),
        (np.tile(noise((12, 6), 6), (60, 1, 1)), "with 6 different windows"),
        (noise((12, 6), 320) * np.float32(1e-12), "the outputs do not vary"),
    ],
    ids=["few", "the same", "all zero as it were"],
)
def test_windows_that_say_little_recommend_nothing_quantised(exported, few, said):
    found = search(exported.read_bytes(), exported, evaluation(few), settings(goal=Goal.SIZE))
    assert not found.chosen.variant.is_quantized
    assert said in found.why
    assert found.recommended in found.front


def flat(path):
    layers = (nn.Linear(72, 128), nn.ReLU(), nn.Linear(128, 64))
    export_onnx(nn.Sequential(*layers), path, (72,))
    return path.read_bytes()


def test_a_model_of_flat_rows_is_searched_with_its_windows(tmp_path, windows):
    path = tmp_path / "m.onnx"
    found = search(flat(path), path, evaluation(windows), settings(runs=5, batches=(1,)))
    assert found.evaluation.windows.shape[1:] == (72,)
    assert any(name.startswith("int8") for name in found.evaluated)


def test_a_file_that_was_made_before_is_neither_judged_nor_published_twice(tmp_path, windows):
    """Rewritten already, it is not rewritten again."""
    path = tmp_path / "m.onnx"
    rewritten = optimize_graph(flat(path), path, GraphLevel.EXTENDED)
    found = search(rewritten, path, evaluation(windows), settings(runs=5, batches=(1,)))
    assert found.skipped["fp32-graph"] == "the same file as fp32"
    assert len({each.content for each in found.evaluated.values()}) == len(found.evaluated)


class Centred(nn.Module):
    """Looks at its batch-mates itself."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(72, 128), nn.Linear(128, 64))

    def forward(self, windows):
        return self.layers(windows - windows.mean(0, keepdim=True))


def test_a_network_that_mixes_its_batch_is_not_searched(tmp_path, windows):
    path = tmp_path / "m.onnx"
    export_onnx(Centred(), path, (12, 6))
    with pytest.raises(ParityError, match="FP32 model beside itself"):
        search(path.read_bytes(), path, evaluation(windows), settings(runs=5, batches=(1,)))


def test_what_is_not_right_is_refused_with_the_reason_and_not_timed(exported, windows):
    strict = settings(tolerance=Tolerance(relative=1e-6, floor=1e-6))
    found = search(exported.read_bytes(), exported, evaluation(windows), strict)
    assert found.evaluated["int8-dynamic-lstm"].refused.startswith("the models disagree in")
    assert found.evaluated["int8-dynamic-lstm"].timings == {}
    assert found.recommended.name in ("fp32", "fp32-graph")


def test_a_spent_budget_ends_with_what_there_is(exported, windows):
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
    assert "no time was left" in found.skipped["int8-dynamic-lstm"]
    assert "no time was left" in found.skipped["2 threads, batch 1"]


def test_more_threads_are_timed_and_do_not_decide(exported, windows):
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


def test_an_original_that_gives_no_numbers_is_refused(exported, windows):
    with pytest.raises(ParityError, match="FP32 model beside itself"):
        search(constant_nan(), exported, evaluation(windows), settings())


def test_a_damaged_original_is_refused(exported, windows):
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
def test_senseless_settings_are_refused(fields):
    with pytest.raises(InvalidInputError):
        settings(**fields)


@pytest.mark.parametrize(
    "fields", [{"direction_agreement": 1.5}, {"relative": -1}, {"floor": float("inf")}]
)
def test_senseless_tolerances_are_refused(fields):
    with pytest.raises(InvalidInputError):
        Tolerance(**fields)


def test_the_evidence_holds_all_and_is_json(found):
    time = datetime(2026, 1, 2, tzinfo=UTC)
    evidence = summary(found, "model.onnx", this_machine(), time, "samples.json")
    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence
    document = json.loads(samples_document(found, evidence))
    samples = document.pop("samples")
    assert document == evidence
    assert evidence["machine"]["cores"] >= 1
    by_name = {each["variant"]: each for each in evidence["variants"]}
    assert by_name.keys() == found.evaluated.keys()
    assert by_name["int8-dynamic-lstm"]["batch_mates"]["answers_depend_on_batch_mates"]
    for sample in samples:
        figures = next(
            timing
            for timing in by_name[sample["variant"]]["timings"]
            if (timing["num_threads"], timing["batch"]) == (sample["num_threads"], sample["batch"])
        )
        assert figures["p95_ms"] == pytest.approx(np.percentile(sample["samples_ms"], 95), rel=1e-3)
        assert figures["samples"] == len(sample["samples_ms"]) >= 30


def test_what_is_published_has_names_that_other_content_would_not_have(found):
    files = published(found, "model.onnx")
    name = artifact_name(found.chosen, "model.onnx")
    assert name in files or name == "model.onnx"
    for content in files.values():
        onnx.checker.check_model(content)
    assert artifact_name(found.evaluated["fp32"], "model.onnx") == "model.onnx"
