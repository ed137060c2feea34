"""OpenVINO in an environment of its own, interleaved with the models measured here."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.environments import PeerUnavailableError, environment

OPENVINO = "openvino==2026.4.1"

_WORKER = """
import sys, time
import numpy as np
import openvino

core = openvino.Core()
settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32"}
compiled = core.compile_model(core.read_model(sys.argv[1]), "CPU", settings)
request = compiled.create_infer_request()
windows = np.load(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter_ns()
    request.infer([windows])
    print(time.perf_counter_ns() - began, flush=True)
"""


class OpenVino:
    """A process that runs a model on request and returns the duration that it measured."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._answer("ready")

    def run_ns(self) -> int:
        """Run once; return the duration in the other process, in nanoseconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return int(self._answer(None))

    def _answer(self, expected: str | None) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line or (expected is not None and line != expected):
            raise PeerUnavailableError(f"OpenVINO's process ended: {self._process.poll()}")
        return line


@contextmanager
def openvino(model: Path, windows: Path) -> Iterator[OpenVino]:
    """Yield OpenVINO with a model, on one thread, in single precision.

    Raises:
        PeerUnavailableError: it cannot be installed, or does not run the model.
    """
    python = environment("openvino", [OPENVINO])
    with subprocess.Popen(  # noqa: S603 - our own worker
        [python, "-c", _WORKER, str(model), str(windows)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield OpenVino(process)
        finally:
            process.terminate()
