"""Which backend computes while versions come, change and go."""

import pytest

from serve_app.data_plane.backends import Backends
from serve_app.settings import VersionSettings
from serve_app.state.serving import ServedVersion
from serve_app.versions import VersionRef
from testkit.models import metadata

TOY = VersionRef("toy", "1.0.0")


class Opened:
    """A backend that is loaded when the test says so."""

    def __init__(self, version):
        self.version, self.is_loaded, self.is_closed, self.trouble = version, False, False, None

    def loaded(self):
        return self.is_loaded

    def problem(self):
        return self.trouble

    def close(self):
        self.is_closed = True


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def version(number="1.0.0", **settings):
    settings = VersionSettings(model="toy", version=number, **settings)
    return ServedVersion(metadata=metadata(version=number), settings=settings)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened():
    return []


@pytest.fixture
def backends(opened, clock):
    def open_backend(version):
        opened.append(Opened(version))
        return opened[-1]

    return Backends(open_backend, clock)


def test_a_version_that_stays_keeps_its_backend_and_one_that_goes_is_closed(backends, opened):
    backends.adopt([version("1.0.0"), version("1.1.0")])
    backends.adopt([version("1.0.0"), version("1.2.0")])
    assert [each.version.metadata.version for each in opened] == ["1.0.0", "1.1.0", "1.2.0"]
    assert [each.is_closed for each in opened] == [False, True, False]
    backends.close()
    assert all(each.is_closed for each in opened)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"placement": "router"}),
        ({"placement": "router"}, {}),
        ({}, {"num_replicas": 2}),
        ({"placement": "router"}, {"placement": "router", "num_threads": 2}),
    ],
)
def test_the_old_way_is_used_until_the_new_one_is_loaded(backends, opened, before, after):
    backends.adopt([version(**before)])
    (old,) = opened
    old.is_loaded = True
    assert backends.use(TOY) is old
    backends.adopt([version(**after)])
    _, new = opened
    assert backends.use(TOY) is old
    assert not backends.reaches()["toy:1.0.0"].loaded
    assert backends.loaded(TOY)
    new.is_loaded = True
    assert backends.reaches()["toy:1.0.0"].loaded
    assert backends.use(TOY) is new
    assert (old.is_closed, new.is_closed) == (True, False)


def test_a_way_that_was_given_up_before_it_was_loaded_is_closed(backends, opened):
    backends.adopt([version()])
    backends.adopt([version(placement="router")])
    backends.adopt([version(placement="router", num_threads=2)])
    assert [each.is_closed for each in opened] == [False, True, False]
    opened[2].trouble = "out of memory"
    assert backends.reaches()["toy:1.0.0"].problem == "out of memory"


def test_idle_is_the_time_since_the_last_request_or_since_it_could_be_asked(
    backends, opened, clock
):
    backends.adopt([version()])
    clock.now_s = 100.0
    assert backends.reaches()["toy:1.0.0"].idle_s == 0.0
    opened[0].is_loaded = True
    clock.now_s = 105.0
    assert backends.reaches()["toy:1.0.0"].idle_s == 5.0
    backends.use(TOY)
    clock.now_s = 107.0
    backends.adopt([version()])
    assert backends.reaches()["toy:1.0.0"].idle_s == 2.0


def test_another_artifact_in_the_router_takes_over_once_it_is_loaded(backends, opened):
    both = {"model.onnx": "a" * 64, "fast.onnx": "b" * 64}
    settings = VersionSettings(model="toy", version="1.0.0", placement="router")
    slow, fast = (
        ServedVersion(metadata=metadata(artifacts=both, serving_artifact=each), settings=settings)
        for each in ("model.onnx", "fast.onnx")
    )
    backends.adopt([slow])
    backends.adopt([fast])
    assert [each.version.load.artifact for each in opened] == ["a" * 64, "b" * 64]
