"""The limits of a process on its own time and memory."""

import resource
import signal
import subprocess
import sys

import pytest

from registry.trial_run.limits import is_out_of_memory, limited

pytestmark = pytest.mark.slow

MB = 1_000_000


def run(statement, step_cpu_s=10.0, total_s=10.0, memory_bytes=2000 * MB):
    """Run a statement under limits in a new process, and return the process."""
    code = (
        "import time; from registry.trial_run.limits import limited\n"
        f"with limited({step_cpu_s}, {total_s}, {memory_bytes}) as start_step:\n"
        "    start_step()\n"
        f"    {statement}\n"
        "held = bytearray(400_000_000)  # the limits end with the block\n"
        "print('ended')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_within_limits():
    """Code that stays within the limits is not affected."""
    assert run("held = bytearray(50_000_000)", memory_bytes=100 * MB).stdout == "ended\n"


def test_processor_time():
    """A step that uses up its processor time ends the process with SIGPROF."""
    assert run("while True: pass", step_cpu_s=0.2).returncode == -signal.SIGPROF


def test_steps():
    """Each step has its own processor time."""
    steps = "for _ in range(4): start_step(); sum(range(1_000_000))"
    done = run(steps, step_cpu_s=0.5)
    assert (done.stdout, done.returncode) == ("ended\n", 0)


def test_elapsed_time():
    """Waiting beyond the elapsed time ends the process with SIGALRM."""
    assert run("time.sleep(60)", total_s=0.2).returncode == -signal.SIGALRM


def test_memory():
    """Memory beyond the limit cannot be allocated."""
    assert "MemoryError" in run("held = bytearray(300_000_000)", memory_bytes=200 * MB).stderr


def test_closer_limit_is_kept():
    """A limit that the process has already is never raised."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    closer = 8 * 1000 * MB
    resource.setrlimit(resource.RLIMIT_DATA, (closer, before[1]))
    try:
        with limited(10.0, None, 100_000 * MB):
            assert resource.getrlimit(resource.RLIMIT_DATA)[0] == closer
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] == closer
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("std::bad_alloc", True),
        ("Failed to allocate memory for requested buffer of size 1200000000", True),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 120 bytes", True),
        ("invalid index for the node position_allocation", False),
    ],
)
def test_out_of_memory(message, expected):
    """Failed allocations are recognised by the libraries' messages, as a cause too."""
    error = ValueError("the model does not run")
    error.__cause__ = RuntimeError(message)
    assert is_out_of_memory(error) is expected
