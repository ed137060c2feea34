"""The order of the tests in a run with several workers, and the death of a worker."""

from types import SimpleNamespace

import pytest

from testkit.scheduler import ClusterTestsByModule

CLUSTER = [f"tests/integration/test_{module}.py::test_{n}" for module in "ab" for n in (1, 2, 3)]
OTHERS = [f"tests/test_x.py::test_{n}" for n in (1, 2, 3, 4)]
TESTS = [*CLUSTER, *OTHERS]


class Worker:
    """Runs a test once it knows the next one, or that there is none, as a worker of xdist."""

    def __init__(self, name):
        self.gateway = SimpleNamespace(id=name)
        self.queue, self.shutting_down = [], False

    def send_runtest_some(self, indices):
        self.queue += indices

    def shutdown(self):
        self.shutting_down = True

    def can_run(self):
        return len(self.queue) > (0 if self.shutting_down else 1)


@pytest.fixture
def workers():
    return [Worker("gw0"), Worker("gw1")]


@pytest.fixture
def scheduler(workers):
    """Return a scheduler that has distributed TESTS over both workers."""
    config = SimpleNamespace(
        getvalue=lambda name: ["popen"] * len(workers),
        option=SimpleNamespace(loadscopereorder=False),
    )
    scheduler = ClusterTestsByModule(config)
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, TESTS)
    scheduler.schedule()
    return scheduler


def run_all(scheduler, workers):
    """Run tests until no worker can continue; return them in order."""
    done = []
    while able := [worker for worker in workers if worker.can_run()]:
        for worker in able:
            index = worker.queue.pop(0)
            done.append(TESTS[index])
            scheduler.mark_test_complete(worker, index)
    return done


def replace(scheduler, worker):
    """Add a worker that has collected the tests."""
    scheduler.add_node(worker)
    scheduler.add_node_collection(worker, TESTS)
    scheduler.schedule()
    return worker


def test_modules_stay_together(scheduler, workers):
    """The first worker starts with the cluster's tests, the other one with all others."""
    first, second = ([TESTS[index] for index in worker.queue] for worker in workers)
    assert first[:3] == CLUSTER[:3]
    assert set(second) <= set(OTHERS)
    assert sorted(run_all(scheduler, workers)) == sorted(TESTS)


def test_dead_worker(scheduler, workers):
    """The test that a worker was running is reported, and all others run once."""
    dead, other = workers
    crashed = TESTS[dead.queue[0]]
    assert scheduler.remove_node(dead) == crashed
    new = replace(scheduler, Worker("gw2"))
    assert sorted([*run_all(scheduler, [other, new]), crashed]) == sorted(TESTS)


def test_last_test_of_a_dead_worker(scheduler, workers):
    """A replacement runs a single test that is left, although it never learns of another."""
    dead, other = workers
    while len(dead.queue) > 2 or other.queue:
        worker = other if other.can_run() else dead
        scheduler.mark_test_complete(worker, worker.queue.pop(0))
    left = TESTS[dead.queue[1]]
    scheduler.remove_node(dead)
    scheduler.remove_node(other)
    assert run_all(scheduler, [replace(scheduler, Worker("gw2"))]) == [left]


def test_death_beside_a_replacement(scheduler, workers):
    """A worker may die while the replacement of another one is collecting its tests."""
    crashed = [scheduler.remove_node(workers[0])]
    new = Worker("gw2")
    scheduler.add_node(new)
    crashed.append(scheduler.remove_node(workers[1]))
    scheduler.add_node_collection(new, TESTS)
    scheduler.schedule()
    assert sorted([*run_all(scheduler, [new]), *crashed]) == sorted(TESTS)


def test_finished_worker(scheduler, workers):
    """A worker that ends after its last test was running none."""
    run_all(scheduler, workers)
    assert [scheduler.remove_node(worker) for worker in workers] == [None, None]
