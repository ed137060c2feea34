"""How the tests are spread over several workers."""

from xdist.scheduler import LoadScopeScheduling

CLUSTER_TESTS = ("tests/integration/", "tests/docs/test_tutorial.py")


class OneWorkerForTheCluster(LoadScopeScheduling):
    """Run the tests that need a cluster in one worker, where they share it; spread the others.

    xdist's own `--dist loadgroup` ignores its groups under pytest 9.2, which no longer reads the
    attribute that xdist sets (`findings/xdist-loadgroup-ignored.sh`).
    """

    def _split_scope(self, nodeid: str) -> str:
        return "cluster" if nodeid.startswith(CLUSTER_TESTS) else nodeid


def pytest_xdist_make_scheduler(config, log):
    """Return the scheduler for a run in several workers."""
    return OneWorkerForTheCluster(config, log)
