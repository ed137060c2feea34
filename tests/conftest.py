"""The environment of all tests, and how they are spread over several workers."""

import os
import shutil
import tempfile

from xdist.scheduler import LoadScopeScheduling

CLUSTER_TESTS = ("tests/integration/", "tests/docs/test_tutorial.py")


class ClusterTestsByModule(LoadScopeScheduling):
    """Spread the tests over the workers, those that need a cluster by module.

    Such modules share the cluster of their worker. One worker runs them from the beginning of the
    list; the others run every other test first and then help from its end: two clusters that start
    beside the other tests occupy two cores so much that the whole run takes longer.

    xdist's own `--dist loadgroup` ignores its groups under pytest 9.2, which no longer reads the
    attribute that xdist sets (`findings/xdist-loadgroup-ignored.sh`).
    """

    _first = None
    """The worker that runs the cluster's tests from the beginning."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if nodeid.startswith(CLUSTER_TESTS) else nodeid

    def _assign_work_unit(self, node) -> None:
        self._first = self._first or node
        clusters = [scope for scope in self.workqueue if scope.startswith(CLUSTER_TESTS)]
        others = (scope for scope in self.workqueue if not scope.startswith(CLUSTER_TESTS))
        if node is self._first:
            chosen = clusters[0] if clusters else next(others)
        else:
            chosen = next(others, None) or clusters[-1]
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config, log):
    """Return the scheduler for a run in several workers."""
    return ClusterTestsByModule(config, log)


def pytest_configure(config):
    """Give the tests a separate home for local tokens, which servers create and clients send."""
    folder = tempfile.mkdtemp(prefix="ts-config-")
    os.environ["XDG_CONFIG_HOME"] = folder
    os.environ.pop("TRADESERVE_TOKEN", None)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
