"""Starts the process of trial runs, keeps it for the next one, and replaces it after a failure."""

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO

from registry.errors import RegistryError, TrialLimitError, UnusableModelError
from registry.predictors import artifacts_to_try, path_of
from registry.records import ModelMetadata
from registry.reference_outputs import ARTIFACT
from registry.trial_run.limits import TrialLimits
from registry.trial_run.messages import MAX_RESPONSE_BYTES, Request, read_response, write_request

RESPONSE_S = 60.0
"""Longest wait for a response, most of it for the import of a library on a busy machine. The
process enforces the limits of a run by itself."""


class TrialProcess:
    """Loads and runs artifacts in one separate process, one artifact after the other.

    The process is started for the first artifact and reused, since importing a library takes a
    second or two; it ends by itself when it is idle. A process that a file has ended is replaced.
    A fork of this process starts its own.

    Args:
        limits: the limits per artifact.
    """

    def __init__(self, limits: TrialLimits = TrialLimits()) -> None:  # noqa: B008  frozen
        self._limits = limits
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        atexit.register(self.close)

    def try_out(self, metadata: ModelMetadata, read: Callable[[str], bytes]) -> None:
        """Load and run every artifact that could serve a version, on its own windows if it has any.

        Args:
            metadata: the version's metadata.
            read: returns an artifact's content, given a key of `metadata.artifacts`.

        Raises:
            MissingArtifactError: the version has no artifact that can serve.
            TrialLimitError: an artifact takes too much time or memory.
            ReferenceMismatchError: an artifact's outputs differ from the reference outputs.
            RegistryError: an artifact cannot serve for another reason, or `read` raised it.
        """
        recorded = read(ARTIFACT) if ARTIFACT in metadata.artifacts else None
        for artifact in artifacts_to_try(metadata):
            self.try_artifact(metadata, artifact, read(artifact), recorded)

    def try_artifact(
        self,
        metadata: ModelMetadata,
        artifact: str,
        content: bytes,
        recorded: bytes | None = None,
    ) -> None:
        """Load and run one artifact; raise as `try_out` does.

        Args:
            metadata: the version's metadata.
            artifact: a key of `metadata.artifacts`.
            content: the artifact's content.
            recorded: the content of the version's `windows.npz`, with which it is compared.
        """
        request = Request(metadata, artifact, content, self._limits, recorded)
        with self._lock:
            problem = self._find_problem(request)
        if problem is not None:
            raise problem

    def close(self) -> None:
        """End the process; the next trial run starts another one."""
        with self._lock:
            self._replace(None)

    def _find_problem(self, request: Request) -> RegistryError | None:
        path = path_of(request.metadata, request.artifact)
        while True:
            is_new = self._worker is None or not self._worker.is_usable()
            if is_new:
                self._replace(_Worker())
            assert self._worker is not None
            line = self._worker.respond(request)
            if line:
                problem = read_response(line, path)
                if isinstance(problem, TrialLimitError):
                    self._replace(None)  # its memory may be fragmented
                return problem
            status = self._worker.wait()
            self._replace(None)
            # A process that ended with 0 had been idle, and did not see the request.
            if is_new or status != 0:
                return self._cause_of_death(status, path, request)

    def _cause_of_death(self, status: int, path: str, request: Request) -> RegistryError:
        match -status:
            case signal.SIGPROF:
                limit = f"{self._limits.step_cpu_s:g} s of processor time to load, and per run"
                return TrialLimitError(path, limit)
            case signal.SIGALRM:
                total_s = self._limits.total_with(request.recorded)
                limit = f"{total_s:g} s to load and for its runs together"
                return TrialLimitError(path, limit)
            case number if number > 0:
                name = signal.Signals(number).name
                return UnusableModelError(path, f"its trial run was ended by {name}")
        return UnusableModelError(path, f"its trial run ended with exit code {status}")

    def _replace(self, worker: "_Worker | None") -> None:
        if self._worker is not None:
            self._worker.close()
        self._worker = worker


class _Worker:
    """One process that runs `registry.trial_run.worker`."""

    def __init__(self) -> None:
        self._owner, self._path = os.getpid(), tuple(sys.path)
        folders = [folder or str(Path.cwd()) for folder in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "registry.trial_run.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One thread, so that processor time measures the duration of a run.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C in a terminal is for the parent only
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._responses: BinaryIO = self._process.stdout  # type: ignore[assignment]

    def is_usable(self) -> bool:
        """Return whether the process runs, and would import what this process imports."""
        is_own = self._owner == os.getpid()
        return is_own and self._path == tuple(sys.path) and self._process.poll() is None

    def respond(self, request: Request) -> bytes:
        """Return the response to a request, empty if the process has ended."""
        watchdog = threading.Timer(RESPONSE_S, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            write_request(self._requests, request)
            return self._responses.readline(MAX_RESPONSE_BYTES)
        except BrokenPipeError:
            return b""
        finally:
            watchdog.cancel()

    def wait(self) -> int:
        """Return the status of the process, once it has ended."""
        return self._process.wait()

    def close(self) -> None:
        """Kill the process if it is this process's own, and release its pipes."""
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        for stream in (self._requests, self._responses):
            try:
                stream.close()
            except BrokenPipeError:
                continue  # a request that the process did not read


@cache
def shared_process() -> TrialProcess:
    """Return the TrialProcess that this process shares."""
    return TrialProcess()


def try_out(metadata: ModelMetadata, read: Callable[[str], bytes]) -> None:
    """Load and run every artifact that could serve a version, in the shared process."""
    shared_process().try_out(metadata, read)
