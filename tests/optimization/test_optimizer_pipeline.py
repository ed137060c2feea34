"""ONNXOptimizer.export_and_optimize: all keys are present, whatever fails."""

import math

import pytest

from optimization import ONNXOptimizer
from optimization.measurement.parity import Tolerance
from tests.optimization.contract import BENCHMARK_KEYS, SHAPE, new_network


async def test_export_and_optimize(optimizer, trained, tmp_path):
    """The pipeline has the keys of the contract and writes two files."""
    path, _ = trained
    results = await optimizer.export_and_optimize(
        model=new_network(),
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


async def test_keys_after_a_failure(optimizer, tmp_path):
    """All keys are present when the export fails, with NaN and the error."""
    results = await optimizer.export_and_optimize(
        new_network(), tmp_path / "no.pt", tmp_path / "out", SHAPE, benchmark_iterations=5
    )
    assert (results["export_success"], results["quantize_success"]) == (False, False)
    for name in ("onnx_fp32", "onnx_int8"):
        assert results["benchmarks"][name].keys() >= BENCHMARK_KEYS | {"error"}
        assert math.isnan(results["benchmarks"][name]["latency_ms"])
    assert math.isnan(results["comparison"]["speedup"])
    assert "there is no such file" in results["errors"]["export"]
    assert "there is no such file" in results["comparison"]["error"]
    assert list((tmp_path / "out").iterdir()) == []


async def test_failed_quantization_keeps_export(tmp_path):
    """The export and its figures remain if the quantisation fails."""
    strict = ONNXOptimizer(tolerance=Tolerance(relative=0, floor=0))
    results = await strict.export_and_optimize(
        new_network(), None, tmp_path, SHAPE, benchmark_iterations=5
    )
    assert (results["export_success"], results["quantize_success"]) == (True, False)
    assert results["benchmarks"]["onnx_fp32"]["latency_ms"] > 0
    assert "single element" in results["benchmarks"]["onnx_int8"]["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


async def test_without_quantization(optimizer, tmp_path):
    """Omitting the quantisation is not an error."""
    results = await optimizer.export_and_optimize(
        new_network(), None, tmp_path, SHAPE, quantize=False, benchmark_iterations=5
    )
    assert (results["quantize_success"], results["errors"]) == (False, {})


async def test_stale_quantized_file(optimizer, tmp_path):
    """A quantised file of an earlier export is reported."""
    (tmp_path / "model_quantized.onnx").write_bytes(b"former")
    results = await optimizer.export_and_optimize(
        new_network(), None, tmp_path, SHAPE, quantize=False, benchmark_iterations=2
    )
    assert "belongs to an earlier export" in results["errors"]["quantize"]
