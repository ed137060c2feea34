"""The steps of export_and_optimize and their recommendation."""

import pytest

from optimization.errors import QuantizationError
from optimization.measurement.timing import Timing
from optimization.pipeline import run_steps


def steps(tmp_path, int8_ms, fails=False):
    async def export(target):
        target.write_bytes(b"fp32")
        return True

    async def quantize(source, target):
        if fails:
            raise QuantizationError(source, "no")
        target.write_bytes(b"int")
        return True

    async def time_files(files):
        durations_ms = {"onnx_fp32": 1.0, "onnx_int8": int8_ms}
        return {name: Timing(batch=1, samples_ms=(durations_ms[name],) * 3) for name in files}

    return run_steps(tmp_path, export, quantize, time_files)


async def test_faster_file(tmp_path):
    """The INT8 file is recommended if it is faster."""
    results = await steps(tmp_path, int8_ms=0.5)
    assert (results["recommended"], results["warnings"]) == ("onnx_int8", {})


@pytest.mark.parametrize("int8_ms", [0.99, 1.6])
async def test_smaller_but_not_faster(tmp_path, int8_ms, caplog):
    """A file that is not faster is written with a warning, and not recommended."""
    results = await steps(tmp_path, int8_ms)
    assert results["quantize_success"]
    assert results["recommended"] == "onnx_fp32"
    assert results["comparison"]["speedup"] == pytest.approx(1 / int8_ms)
    assert f"{1 / int8_ms:.2f} times as fast" in results["warnings"]["quantize"]
    assert results["warnings"]["quantize"] in caplog.text


async def test_failed_quantization(tmp_path):
    """The export is recommended if the quantisation fails."""
    results = await steps(tmp_path, int8_ms=1, fails=True)
    assert (results["recommended"], results["warnings"]) == ("onnx_fp32", {})
