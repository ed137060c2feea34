"""ONNXOptimizer: exports, graphs, benchmarks and comparisons."""

import asyncio

import onnx
import pytest
import torch

from optimization import get_onnx_optimizer
from optimization.errors import (
    ExportError,
    InvalidInputError,
    InvalidModelError,
    OpsetError,
    OutputFileError,
    ParityError,
    WeightsError,
)
from optimization.measurement.parity import Tolerance, require_parity
from optimization.networks import torch_model
from optimization.runtime import GraphLevel, OnnxModel
from tests.optimization.contract import BENCHMARK_KEYS, SHAPE, new_network


def test_default_optimizer_is_shared():
    """The default optimiser is the same object on each call."""
    assert get_onnx_optimizer() is get_onnx_optimizer()


async def test_export_loads_weights(optimizer, trained, tmp_path, windows):
    """The weights of the file are loaded into the network and exported."""
    path, network = trained
    model = new_network()
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


async def test_export_without_weights_file(optimizer, tmp_path):
    """Missing weights are an error, and nothing is exported."""
    with pytest.raises(WeightsError, match="there is no such file"):
        await optimizer.export_to_onnx(
            new_network(), tmp_path / "no.pt", tmp_path / "m.onnx", SHAPE
        )
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("opset_version", [8, 21, 99, "18", True])
async def test_unsupported_opset(optimizer, tmp_path, opset_version):
    """The error for an unsupported operator set states the supported ones."""
    with pytest.raises(OpsetError, match="is not supported; choose one from 9 to 20"):
        await optimizer.export_to_onnx(
            new_network(), None, tmp_path / "m.onnx", SHAPE, opset_version=opset_version
        )


@pytest.mark.parametrize("opset_version", [11, 13, 14, 20])
async def test_supported_opsets(optimizer, tmp_path, opset_version):
    """A network can be exported and quantised in operator sets 11, 13, 14 and 20."""
    path = tmp_path / "m.onnx"
    await optimizer.export_to_onnx(new_network(), None, path, SHAPE, opset_version=opset_version)
    assert onnx.load(path).opset_import[0].version == opset_version
    assert await optimizer.quantize_model(
        path, tmp_path / "q.onnx", tolerance=Tolerance(direction_agreement=0.9)
    )


@pytest.mark.parametrize(
    "shape", [(), (1,), (0, 12, 6), (1, 12, -6), (1, 12.5, 6), None, "abc", (True, 12, 6)]
)
async def test_invalid_shapes(optimizer, exported, tmp_path, shape):
    """A shape needs the batch and at least one size, all at least 1."""
    for attempt in (
        optimizer.export_to_onnx(new_network(), None, tmp_path / "m.onnx", shape),
        optimizer.benchmark(exported, shape, 1, 0),
    ):
        with pytest.raises(InvalidInputError, match=r"input_shape: expected the batch and"):
            await attempt


async def test_verbose(optimizer, tmp_path, capsys):
    """`verbose` prints the graph to standard output and the steps to standard error."""
    await optimizer.export_to_onnx(new_network(), None, tmp_path / "m.onnx", SHAPE, verbose=True)
    shown = capsys.readouterr()
    assert "LSTM" in shown.out
    assert "export: 100% done" in shown.err
    await optimizer.benchmark(tmp_path / "m.onnx", SHAPE, 3, 0)
    assert capsys.readouterr() == ("", "")


async def test_unusable_target(optimizer, exported, tmp_path):
    """A target must differ from the source and lie in an existing folder."""
    before = exported.read_bytes()
    for make in (optimizer.quantize_model, optimizer.optimize_graph):
        with pytest.raises(OutputFileError, match="it is the source file"):
            await make(exported, exported.parent / "." / exported.name)
        with pytest.raises(OutputFileError, match="there is no folder"):
            await make(exported, tmp_path / "absent" / "m.onnx")
        with pytest.raises(OutputFileError, match="it is a folder"):
            await make(exported, tmp_path)
    assert exported.read_bytes() == before


async def test_damaged_file(optimizer, exported, tmp_path):
    """Each method rejects a damaged file and names it."""
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.read_bytes()[:-100])
    for attempt in (
        optimizer.quantize_model(damaged, tmp_path / "q.onnx"),
        optimizer.optimize_graph(damaged, tmp_path / "g.onnx"),
        optimizer.benchmark(damaged, SHAPE, 1, 0),
        optimizer.compare_pytorch_onnx(new_network(), damaged),
    ):
        with pytest.raises(InvalidModelError, match=r"damaged\.onnx: .* is damaged"):
            await attempt
    assert list(tmp_path.iterdir()) == [damaged]


@pytest.mark.parametrize("level", [GraphLevel.BASIC, 2, GraphLevel.ALL])
async def test_optimize_graph(optimizer, exported, tmp_path, windows, level):
    """The file with the optimised graph has the same outputs."""
    target = tmp_path / "optimised.onnx"
    assert await optimizer.optimize_graph(exported, target, level)
    require_parity(OnnxModel(exported), OnnxModel(target), windows)


async def test_benchmark(optimizer, exported):
    """A benchmark has the keys of the contract, and its throughput counts whole batches."""
    figures = await optimizer.benchmark(
        onnx_path=exported, input_shape=(4, 12, 6), num_iterations=30, warmup_iterations=3
    )
    assert figures.keys() >= BENCHMARK_KEYS
    assert figures["min_ms"] <= figures["p50_ms"] <= figures["p95_ms"] <= figures["max_ms"]
    assert figures["throughput"] == pytest.approx(4000 / figures["latency_ms"])


@pytest.mark.parametrize("counts", [(0, 0), (-3, 0), (1, -1), (2.5, 0)])
async def test_invalid_counts(optimizer, exported, counts):
    """Numbers of calls are whole and not negative."""
    with pytest.raises(InvalidInputError, match="a whole number"):
        await optimizer.benchmark(exported, SHAPE, *counts)
    with pytest.raises(InvalidInputError, match="a whole number"):
        await optimizer.compare_pytorch_onnx(new_network(), exported, SHAPE, *counts)


async def test_compare_pytorch_onnx(optimizer, trained, exported):
    """A comparison has the keys of the contract and distinguishes equal from other weights."""
    _, network = trained
    same = await optimizer.compare_pytorch_onnx(network, exported, num_iterations=5)
    other = await optimizer.compare_pytorch_onnx(new_network().train(), exported, num_iterations=5)
    assert (same["outputs_match"], other["outputs_match"]) == (True, False)
    assert same["numerical_difference"].keys() == {"mean", "max", "std"}
    assert same["numerical_difference"]["max"] < 1e-5 < other["numerical_difference"]["max"]
    assert same["speedup"] == pytest.approx(
        same["pytorch_latency_ms"]["mean"] / same["onnx_latency_ms"]["mean"]
    )
    assert same["pytorch_latency_ms"].keys() == same["onnx_latency_ms"].keys() == {"mean", "p95"}


async def test_compare_restores_state(optimizer, exported):
    """A comparison restores the network's mode and PyTorch's number of threads."""
    network, threads = new_network().train(), torch.get_num_threads()
    await optimizer.compare_pytorch_onnx(network, exported, num_iterations=1)
    assert network.training
    assert torch.get_num_threads() == threads


async def test_compare_other_outputs(optimizer, exported):
    """The error for other outputs names both."""
    with pytest.raises(ParityError, match="names: expected output, received direction_logits"):
        await optimizer.compare_pytorch_onnx(torch.nn.Flatten(), exported)


async def test_concurrent_exports(optimizer, tmp_path, windows):
    """Concurrent exports each write their own network."""
    networks = [new_network().eval() for _ in range(4)]
    paths = [tmp_path / f"{number}.onnx" for number in range(4)]
    await asyncio.gather(
        *(
            optimizer.export_to_onnx(network, None, path, SHAPE)
            for network, path in zip(networks, paths, strict=True)
        )
    )
    for network, path in zip(networks, paths, strict=True):
        require_parity(torch_model(network), OnnxModel(path), windows)


async def test_cancelled_export(optimizer, tmp_path):
    """The thread of a cancelled export runs to its end without writing the file."""
    target = tmp_path / "m.onnx"
    task = asyncio.create_task(optimizer.export_to_onnx(new_network(), None, target, SHAPE))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.get_running_loop().shutdown_default_executor()
    assert not target.exists()


async def test_network_error_is_quoted(optimizer, tmp_path):
    """The error of a failing export quotes the network's own error."""
    with pytest.raises(ExportError, match="InputShapeError: wrong input shape"):
        await optimizer.export_to_onnx(new_network(), None, tmp_path / "m.onnx", (1, 12, 5))


async def test_invalid_network_and_shape(optimizer, exported, tmp_path):
    """An argument that is not a network, and windows on which it fails, are errors."""
    with pytest.raises(
        InvalidInputError, match=r"model: expected an instance of torch\.nn\.Module"
    ):
        await optimizer.export_to_onnx(None, tmp_path / "w.pt", tmp_path / "m.onnx", SHAPE)
    with pytest.raises(InvalidInputError, match="input of the network"):
        await optimizer.compare_pytorch_onnx(new_network(), exported, (1, 12, 7))


async def test_concurrent_comparisons(optimizer, exported):
    """Concurrent comparisons restore PyTorch's global state."""
    state = torch.backends.mha.get_fastpath_enabled(), torch.get_num_threads()
    counts = (1, 9, 3)
    await asyncio.gather(
        *(optimizer.compare_pytorch_onnx(new_network(), exported, SHAPE, count) for count in counts)
    )
    assert (torch.backends.mha.get_fastpath_enabled(), torch.get_num_threads()) == state
