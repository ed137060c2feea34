"""The order of the tests in a run with several workers."""

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

CLUSTER_TESTS = ("tests/integration/", "tests/docs/test_tutorial.py")


class ClusterTestsByModule(LoadScopeScheduling):
    """Spread the tests over the workers, those that need a cluster by module.

    Such modules share the cluster of their worker. One worker runs them from the beginning of the
    list; the others run every other test first and then help from its end: two clusters that start
    beside the other tests occupy two cores so much that the whole run takes longer.

    The test during which a worker dies fails, and the worker's other tests run elsewhere. xdist's
    own class repeats that test, fails with a KeyError if a second worker dies before the
    replacement of the first has collected its tests, and hangs if a replacement receives a single
    test.

    xdist's own `--dist loadgroup` ignores its groups under pytest 9.2, which no longer reads the
    attribute that xdist sets (`findings/xdist-loadgroup-ignored.sh`).
    """

    _first: WorkerController | None = None
    """The worker that runs the cluster's tests from the beginning."""

    def remove_node(self, node: WorkerController) -> str | None:
        """Remove a worker and return the test that it was running, if it died."""
        workload: dict[str, dict[str, bool]] = self.assigned_work.pop(node)
        if node is self._first:
            self._first = None
        pending = [test for tests in workload.values() for test, done in tests.items() if not done]
        if not pending:
            return None
        for scope, tests in workload.items():
            left = {test: False for test in tests if test in pending[1:]}
            if left:
                self.workqueue[scope] = left
        for other in self.nodes:
            self._reschedule(other)
        return pending[0]

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if nodeid.startswith(CLUSTER_TESTS) else nodeid

    def _reschedule(self, node: WorkerController) -> None:
        super()._reschedule(node)
        # A worker runs a test only once it knows the next one, or that there is none.
        if self._pending_of(self.assigned_work[node]) == 1:
            super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if node not in self.registered_collections:
            return  # It replaces a worker and is still collecting; `schedule` follows.
        self._first = self._first or node
        clusters = [scope for scope in self.workqueue if scope.startswith(CLUSTER_TESTS)]
        others = (scope for scope in self.workqueue if not scope.startswith(CLUSTER_TESTS))
        if node is self._first:
            chosen = clusters[0] if clusters else next(others)
        else:
            chosen = next(others, None) or clusters[-1]
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)
