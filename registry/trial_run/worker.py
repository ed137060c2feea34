"""The process of trial runs, run as a module: reads requests from stdin, responds on stdout.

A file that exceeds a limit or crashes a library ends this process and nothing else.
"""

import os
import resource
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from registry.errors import RegistryError, TrialLimitError, UnusableModelError
from registry.predictors import import_library, path_of, try_artifact
from registry.trial_run.limits import is_out_of_memory, limited
from registry.trial_run.messages import Request, read_request, write_response

IDLE_S = 30.0
"""Time without a request after which the process ends, which frees 50 to 250 MB."""


def main() -> None:
    """Respond to requests until there are none for IDLE_S, or the other process has ended."""
    requests, responses = _streams()
    # The parent may run with other settings, which a new process inherits.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # If the machine runs out of memory, the kernel ends this process rather than one that serves.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    while select.select([requests], [], [], IDLE_S)[0]:
        request = read_request(requests)
        if request is None:
            return
        write_response(responses, find_problem(request))


def find_problem(request: Request) -> RegistryError | None:
    """Return why an artifact cannot serve, None if it can."""
    limits, path = request.limits, path_of(request.metadata, request.artifact)
    try:
        import_library(request.artifact, request.metadata)
        total_s = limits.total_with(request.recorded)
        with limited(limits.step_cpu_s, total_s, limits.memory_bytes) as start_step:
            try_artifact(
                request.artifact,
                request.content,
                request.metadata,
                start_step,
                request.recorded,
            )
    except Exception as error:  # noqa: BLE001  a damaged file may make a library raise any error
        if is_out_of_memory(error):
            return TrialLimitError(path, f"{limits.memory_bytes / 1e6:.0f} MB of memory")
        if isinstance(error, RegistryError):
            return error
        return UnusableModelError(path, f"it raises {type(error).__name__}: {error}")
    return None


def _streams() -> tuple[BinaryIO, BinaryIO]:
    """Return the streams of requests and responses, which no library can use by mistake."""
    requests, responses = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return requests, responses


if __name__ == "__main__":
    main()
