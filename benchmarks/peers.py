"""Peers that live in an environment of their own, run in turn with what is measured here."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OPENVINO = "openvino==2026.4.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tradeserve-benchmarks"

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


class PeerUnavailableError(Exception):
    """A peer cannot be measured here; the results say why."""


class OpenVino:
    """Runs a model when told to, and tells how long that took in there."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._answer("ready")

    def run_ns(self) -> int:
        """Run once; return the nanoseconds that it took in the other process."""
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
    """Give OpenVINO with a model, on one thread, in single precision.

    Raises:
        PeerUnavailableError: it cannot be installed, or does not run the model.
    """
    python = _environment(OPENVINO)
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


def _environment(requirement: str) -> Path:
    """Return the Python of an environment with that package, made once and kept."""
    folder = (
        CACHE / f"{requirement.replace('==', '-')}-py{sys.version_info[0]}{sys.version_info[1]}"
    )
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
        command = [str(python), "-m", "pip", "install", "-qq", requirement]
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", "") or str(error)
        raise PeerUnavailableError(f"{requirement} does not install: {detail[-300:]}") from error
    (folder / "complete").touch()
    return python
