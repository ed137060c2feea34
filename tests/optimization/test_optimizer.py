"""ONNXOptimizer: what its users rely on."""

import asyncio
import math

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from optimization import ONNXOptimizer, get_onnx_optimizer
from optimization.errors import (
    ExportError,
    InvalidInputError,
    InvalidModelError,
    OpsetError,
    OutputFileError,
    ParityError,
    QuantizationError,
    WeightsError,
)
from optimization.measurement.parity import Tolerance, require_parity, torch_model
from optimization.runtime import GraphLevel, OnnxModel
from registry.architectures import HybridCNNLSTM, save_checkpoint

SHAPE = (1, 12, 6)
BENCHMARK_KEYS = {
    *("latency_ms", "latency_std_ms", "p50_ms", "p95_ms", "p99_ms", "min_ms", "max_ms"),
    "throughput",
}


@pytest.fixture
def optimizer():
    return get_onnx_optimizer()


@pytest.fixture
def trained(tmp_path):
    """A file of weights and the network that has them."""
    torch.manual_seed(3)
    network = HybridCNNLSTM(input_size=6, lstm_hidden_size=48).eval()
    path = tmp_path / "model.pt"
    save_checkpoint(network, path)
    return path, network


def fresh():
    return HybridCNNLSTM(input_size=6, lstm_hidden_size=48)


def test_there_is_one_for_all():
    assert get_onnx_optimizer() is get_onnx_optimizer()


async def test_the_exported_weights_are_those_of_the_file(optimizer, trained, tmp_path, windows):
    path, network = trained
    model = fresh()
    exported = await optimizer.export_to_onnx(
        model=model,
        model_path=path,
        output_path=tmp_path / "model.onnx",
        input_shape=SHAPE,
        opset_version=14,
    )
    assert exported is True
    require_parity(torch_model(network), OnnxModel(tmp_path / "model.onnx"), windows)
    assert torch.equal(model.attention.weight, network.attention.weight)
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 14


async def test_missing_weights_are_an_error_and_nothing_is_exported(optimizer, tmp_path):
    with pytest.raises(WeightsError, match="there is no such file"):
        await optimizer.export_to_onnx(fresh(), tmp_path / "no.pt", tmp_path / "m.onnx", SHAPE)
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("opset_version", [8, 21, 99, "18", True])
async def test_an_operator_set_that_cannot_be_written_names_those_that_can(
    optimizer, tmp_path, opset_version
):
    with pytest.raises(OpsetError, match="not among those that the exporter writes, 9 to 20"):
        await optimizer.export_to_onnx(
            fresh(), None, tmp_path / "m.onnx", SHAPE, opset_version=opset_version
        )


@pytest.mark.parametrize("opset_version", [11, 13, 14, 20])
async def test_the_operator_sets_of_the_troubleshooting_work(optimizer, tmp_path, opset_version):
    path = tmp_path / "m.onnx"
    await optimizer.export_to_onnx(fresh(), None, path, SHAPE, opset_version=opset_version)
    assert onnx.load(path).opset_import[0].version == opset_version
    assert await optimizer.quantize_model(
        path, tmp_path / "q.onnx", tolerance=Tolerance(direction_agreement=0.9)
    )


@pytest.mark.parametrize(
    "shape", [(), (1,), (0, 12, 6), (1, 12, -6), (1, 12.5, 6), None, "abc", (True, 12, 6)]
)
async def test_senseless_shapes_are_refused(optimizer, exported, tmp_path, shape):
    for attempt in (
        optimizer.export_to_onnx(fresh(), None, tmp_path / "m.onnx", shape),
        optimizer.benchmark(exported, shape, 1, 0),
    ):
        with pytest.raises(InvalidInputError, match=r"input_shape: expected the batch and"):
            await attempt


async def test_verbose_shows_the_graph_and_every_step(optimizer, tmp_path, capsys):
    await optimizer.export_to_onnx(fresh(), None, tmp_path / "m.onnx", SHAPE, verbose=True)
    shown = capsys.readouterr()
    assert "LSTM" in shown.out
    assert "export: 100% done" in shown.err
    await optimizer.benchmark(tmp_path / "m.onnx", SHAPE, 3, 0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["dynamic", "rowwise", "static"])
async def test_every_quantisation_writes_one_file_that_is_near(
    optimizer, exported, tmp_path, windows, how
):
    target = tmp_path / "int8.onnx"
    assert await optimizer.quantize_model(
        onnx_path=exported,
        output_path=target,
        quantization_type=how,
        calibration_data=windows,
        windows=windows,
        # Static quantisation of this network does not pay, so it is asked for.
        operators=["MatMul", "Conv"] if how == "static" else None,
        tolerance=Tolerance(direction_agreement=0.9, relative=0.5),
    )
    # Static quantisation leaves the LSTM, which most of this network is.
    assert how == "static" or target.stat().st_size < exported.stat().st_size / 2
    assert list(tmp_path.iterdir()) == [target]


async def test_below_the_tolerance_there_is_no_file(optimizer, exported, tmp_path, windows):
    target = tmp_path / "int8.onnx"
    target.write_bytes(b"former")
    with pytest.raises(ParityError, match=r"single element is up to .* away on 90 windows"):
        await optimizer.quantize_model(
            exported, target, windows=windows, tolerance=Tolerance(relative=1e-4, floor=0)
        )
    assert target.read_bytes() == b"former"


async def test_the_optimisers_own_tolerance_counts(exported, tmp_path):
    strict = ONNXOptimizer(tolerance=Tolerance(relative=1e-4, floor=0))
    with pytest.raises(ParityError):
        await strict.quantize_model(exported, tmp_path / "int8.onnx")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"quantization_type": "int4"}, "one of dynamic, rowwise, static, received 'int4'"),
        ({"quantization_type": "static"}, "calibration_data: expected windows"),
        ({"operators": ["GRU"]}, r"some of LSTM, MatMul, Gemm, Conv, received \['GRU'\]"),
        ({"operators": []}, "some of LSTM"),
        (
            {
                "quantization_type": "static",
                "calibration_data": np.eye(2, 72, dtype=np.float32).reshape(2, 12, 6),
            },
            "at least three windows, a third of which is held out",
        ),
        (
            {
                "quantization_type": "static",
                "calibration_data": np.zeros((90, 12, 6), dtype=np.float32),
            },
            "windows that differ, received the same window 90 times",
        ),
        ({"windows": np.zeros((0, 12, 6), dtype=np.float32)}, "at least one window"),
        ({"windows": np.zeros((4, 12, 7), dtype=np.float32)}, r"shape \(1, 12, 7\)"),
    ],
)
async def test_senseless_arguments_of_a_quantisation_are_refused(
    optimizer, exported, tmp_path, arguments, problem
):
    with pytest.raises(InvalidInputError, match=problem):
        await optimizer.quantize_model(exported, tmp_path / "int8.onnx", **arguments)


async def test_a_file_is_never_made_from_itself_or_where_it_cannot_be(
    optimizer, exported, tmp_path
):
    before = exported.read_bytes()
    for make in (optimizer.quantize_model, optimizer.optimize_graph):
        with pytest.raises(OutputFileError, match="the file to start from"):
            await make(exported, exported.parent / "." / exported.name)
        with pytest.raises(OutputFileError, match="there is no folder"):
            await make(exported, tmp_path / "absent" / "m.onnx")
        with pytest.raises(OutputFileError, match="it is a folder"):
            await make(exported, tmp_path)
    assert exported.read_bytes() == before


async def test_a_damaged_file_is_refused_everywhere(optimizer, exported, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:-100])
    for attempt in (
        optimizer.quantize_model(damaged, tmp_path / "q.onnx"),
        optimizer.optimize_graph(damaged, tmp_path / "g.onnx"),
        optimizer.benchmark(damaged, SHAPE, 1, 0),
        optimizer.compare_pytorch_onnx(fresh(), damaged),
    ):
        with pytest.raises(InvalidModelError, match=r"damaged\.onnx: .* is damaged"):
            await attempt
    assert list(tmp_path.iterdir()) == [damaged]


@pytest.mark.parametrize("level", [GraphLevel.BASIC, 2, GraphLevel.ALL])
async def test_an_optimised_graph_gives_the_same(optimizer, exported, tmp_path, windows, level):
    target = tmp_path / "optimised.onnx"
    assert await optimizer.optimize_graph(exported, target, level)
    require_parity(OnnxModel(exported), OnnxModel(target), windows)


async def test_a_benchmark_has_its_keys_and_counts_the_batch(optimizer, exported):
    figures = await optimizer.benchmark(
        onnx_path=exported, input_shape=(4, 12, 6), num_iterations=30, warmup_iterations=3
    )
    assert figures.keys() >= BENCHMARK_KEYS
    assert figures["min_ms"] <= figures["p50_ms"] <= figures["p95_ms"] <= figures["max_ms"]
    assert figures["throughput"] == pytest.approx(4000 / figures["latency_ms"])


@pytest.mark.parametrize("counts", [(0, 0), (-3, 0), (1, -1), (2.5, 0)])
async def test_senseless_counts_are_refused(optimizer, exported, counts):
    with pytest.raises(InvalidInputError, match="a whole number"):
        await optimizer.benchmark(exported, SHAPE, *counts)
    with pytest.raises(InvalidInputError, match="a whole number"):
        await optimizer.compare_pytorch_onnx(fresh(), exported, SHAPE, *counts)


async def test_a_comparison_tells_right_from_wrong(optimizer, trained, exported):
    _, network = trained
    same = await optimizer.compare_pytorch_onnx(network, exported, num_iterations=5)
    other = await optimizer.compare_pytorch_onnx(fresh().train(), exported, num_iterations=5)
    assert (same["outputs_match"], other["outputs_match"]) == (True, False)
    assert same["numerical_difference"].keys() == {"mean", "max", "std"}
    assert same["numerical_difference"]["max"] < 1e-5 < other["numerical_difference"]["max"]
    assert same["speedup"] == pytest.approx(
        same["pytorch_latency_ms"]["mean"] / same["onnx_latency_ms"]["mean"]
    )
    assert same["pytorch_latency_ms"].keys() == same["onnx_latency_ms"].keys() == {"mean", "p95"}


async def test_a_comparison_leaves_the_network_and_torch_as_they_were(optimizer, exported):
    network, threads = fresh().train(), torch.get_num_threads()
    await optimizer.compare_pytorch_onnx(network, exported, num_iterations=1)
    assert network.training
    assert torch.get_num_threads() == threads


async def test_a_comparison_with_another_network_names_the_outputs(optimizer, exported):
    with pytest.raises(ParityError, match="names: expected output, received direction_logits"):
        await optimizer.compare_pytorch_onnx(torch.nn.Flatten(), exported)


async def test_the_whole_pipeline_has_its_keys(optimizer, trained, tmp_path):
    path, _ = trained
    results = await optimizer.export_and_optimize(
        model=fresh(),
        model_path=path,
        output_dir=tmp_path / "out",
        input_shape=SHAPE,
        quantize=True,
        benchmark_iterations=20,
    )
    assert (results["export_success"], results["quantize_success"]) == (True, True)
    assert results["errors"] == {}
    for name in ("onnx_fp32", "onnx_int8"):
        assert results["benchmarks"][name].keys() >= BENCHMARK_KEYS
    fp32, int8 = (results["benchmarks"][name]["latency_ms"] for name in ("onnx_fp32", "onnx_int8"))
    assert results["comparison"]["speedup"] == pytest.approx(fp32 / int8)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "model.onnx",
        "model_quantized.onnx",
    ]


async def test_the_pipelines_keys_are_there_when_it_fails(optimizer, tmp_path):
    results = await optimizer.export_and_optimize(
        fresh(), tmp_path / "no.pt", tmp_path / "out", SHAPE, benchmark_iterations=5
    )
    assert (results["export_success"], results["quantize_success"]) == (False, False)
    for name in ("onnx_fp32", "onnx_int8"):
        assert results["benchmarks"][name].keys() >= BENCHMARK_KEYS | {"error"}
        assert math.isnan(results["benchmarks"][name]["latency_ms"])
    assert math.isnan(results["comparison"]["speedup"])
    assert "there is no such file" in results["errors"]["export"]
    assert "there is no such file" in results["comparison"]["error"]
    assert list((tmp_path / "out").iterdir()) == []


async def test_a_refused_quantisation_leaves_the_export_and_its_figures(tmp_path):
    strict = ONNXOptimizer(tolerance=Tolerance(relative=0, floor=0))
    results = await strict.export_and_optimize(
        fresh(), None, tmp_path, SHAPE, benchmark_iterations=5
    )
    assert (results["export_success"], results["quantize_success"]) == (True, False)
    assert results["benchmarks"]["onnx_fp32"]["latency_ms"] > 0
    assert "single element" in results["benchmarks"]["onnx_int8"]["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


async def test_without_quantisation_nothing_failed(optimizer, tmp_path):
    results = await optimizer.export_and_optimize(
        fresh(), None, tmp_path, SHAPE, quantize=False, benchmark_iterations=5
    )
    assert (results["quantize_success"], results["errors"]) == (False, {})


async def test_exports_at_once_do_not_disturb_each_other(optimizer, tmp_path, windows):
    networks = [fresh().eval() for _ in range(4)]
    paths = [tmp_path / f"{number}.onnx" for number in range(4)]
    await asyncio.gather(
        *(
            optimizer.export_to_onnx(network, None, path, SHAPE)
            for network, path in zip(networks, paths, strict=True)
        )
    )
    for network, path in zip(networks, paths, strict=True):
        require_parity(torch_model(network), OnnxModel(path), windows)


async def test_a_file_with_a_fixed_batch_is_quantised_too(optimizer, exported, tmp_path):
    model = onnx.load(exported)
    for each in (*model.graph.input, *model.graph.output):
        each.type.tensor_type.shape.dim[0].dim_value = 2
    fixed = tmp_path / "fixed.onnx"
    onnx.save(model, fixed)
    loose = Tolerance(direction_agreement=0.9, relative=0.5)
    assert await optimizer.quantize_model(fixed, tmp_path / "q.onnx", tolerance=loose)


async def test_who_cancels_gets_no_file(optimizer, tmp_path):
    """The thread goes on to its end, and then writes nothing."""
    target = tmp_path / "m.onnx"
    task = asyncio.create_task(optimizer.export_to_onnx(fresh(), None, target, SHAPE))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.get_running_loop().shutdown_default_executor()
    assert not target.exists()


async def test_a_network_that_fails_says_what_it_said(optimizer, tmp_path):
    with pytest.raises(ExportError, match="InputShapeError: wrong input shape"):
        await optimizer.export_to_onnx(fresh(), None, tmp_path / "m.onnx", (1, 12, 5))


class Convolutions(nn.Module):
    """One small convolution: INT8 takes more than it gives."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(6, 4, 3)

    def forward(self, windows):
        return self.layer(windows.transpose(1, 2)).mean(2)


async def test_what_does_not_pay_is_refused_with_the_gain_unless_it_is_asked_for(
    optimizer, tmp_path
):
    source, target = tmp_path / "m.onnx", tmp_path / "q.onnx"
    await optimizer.export_to_onnx(Convolutions(), None, source, SHAPE)
    with pytest.raises(
        QuantizationError, match=r"convolutions alone, which make it 0\.\d\d times .* operators="
    ):
        await optimizer.quantize_model(source, target)
    assert not target.exists()
    assert await optimizer.quantize_model(source, target, operators=["Conv"])


class Prices(nn.Module):
    """Takes prices as they are, near 100."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(72, 128), nn.ReLU(), nn.Linear(128, 4))

    def forward(self, windows):
        return self.layers(windows.flatten(1))


async def test_static_quantisation_is_judged_on_what_it_is_calibrated_for(optimizer, tmp_path):
    """Noise around zero would say that scales for prices are wrong."""
    torch.manual_seed(1)
    source = tmp_path / "m.onnx"
    await optimizer.export_to_onnx(Prices(), None, source, SHAPE)
    prices = 100 + 5 * np.random.default_rng(2).standard_normal((96, 12, 6), dtype=np.float32)
    options = {"calibration_data": prices, "operators": ["MatMul"]}
    assert await optimizer.quantize_model(source, tmp_path / "q.onnx", "static", **options)
    with pytest.raises(ParityError, match=r"q2\.onnx was not written; try another"):
        await optimizer.quantize_model(
            source, tmp_path / "q2.onnx", "static", **options, windows=prices - 100
        )


class BatchMean(nn.Module):
    """Looks at its batch-mates itself."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(72, 128), nn.Linear(128, 64))

    def forward(self, windows):
        return self.layers(windows - windows.mean(0, keepdim=True))


async def test_rows_of_a_network_that_mixes_its_batch_are_refused(optimizer, tmp_path):
    source = tmp_path / "m.onnx"
    await optimizer.export_to_onnx(BatchMean(), None, source, SHAPE)
    with pytest.raises(QuantizationError, match="FP32 answers depend on what else is in the"):
        await optimizer.quantize_model(source, tmp_path / "q.onnx", "rowwise")


async def test_a_quantised_file_of_an_earlier_export_is_told(optimizer, tmp_path):
    (tmp_path / "model_quantized.onnx").write_bytes(b"former")
    results = await optimizer.export_and_optimize(
        fresh(), None, tmp_path, SHAPE, quantize=False, benchmark_iterations=2
    )
    assert "is of an earlier export" in results["errors"]["quantize"]


async def test_arguments_that_are_no_network_or_of_no_fitting_shape_are_told(
    optimizer, exported, tmp_path
):
    with pytest.raises(
        InvalidInputError, match=r"model: expected an instance of torch\.nn\.Module"
    ):
        await optimizer.export_to_onnx(None, tmp_path / "w.pt", tmp_path / "m.onnx", SHAPE)
    with pytest.raises(InvalidInputError, match="input of the network"):
        await optimizer.compare_pytorch_onnx(fresh(), exported, (1, 12, 7))


async def test_comparisons_at_once_leave_torch_as_it_was(optimizer, exported):
    state = torch.backends.mha.get_fastpath_enabled(), torch.get_num_threads()
    counts = (1, 9, 3)
    await asyncio.gather(
        *(optimizer.compare_pytorch_onnx(fresh(), exported, SHAPE, count) for count in counts)
    )
    assert (torch.backends.mha.get_fastpath_enabled(), torch.get_num_threads()) == state
