"""One process of trial runs for all tests of a worker, since each start costs a second."""

import pytest

from registry.trial_run import TrialLimits, TrialProcess

LIMITS = TrialLimits(step_cpu_s=0.5, total_s=3.0, memory_bytes=300_000_000)


@pytest.fixture(scope="session")
def trial_process():
    process = TrialProcess(LIMITS)
    yield process
    process.close()
