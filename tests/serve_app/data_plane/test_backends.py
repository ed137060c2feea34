"""The backends of versions that arrive, change and leave."""

import pytest

from serve_app.data_plane.backends import Backends
from serve_app.settings import VersionSettings
from serve_app.state.serving import ServedVersion
from serve_app.versions import VersionRef
from testkit.models import metadata

TOY = VersionRef("toy", "1.0.0")


class Opened:
    """A backend that is loaded when the test sets it."""

    def __init__(self, version):
        self.version, self.is_loaded, self.is_closed, self.reason = version, False, False, None

    def loaded(self):
        return self.is_loaded

    def problem(self):
        return self.reason

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


def test_versions_keep_their_backend_until_they_leave(backends, opened):
    """A version that stays keeps its backend; the backend of one that leaves is closed."""
    backends.adopt([version("1.0.0"), version("1.1.0")])
    backends.adopt([version("1.0.0"), version("1.2.0")])
    assert [backend.version.metadata.version for backend in opened] == ["1.0.0", "1.1.0", "1.2.0"]
    assert [backend.is_closed for backend in opened] == [False, True, False]
    backends.close()
    assert all(backend.is_closed for backend in opened)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"placement": "router"}),
        ({"placement": "router"}, {}),
        ({}, {"num_replicas": 2}),
        ({"placement": "router"}, {"placement": "router", "num_threads": 2}),
    ],
)
def test_old_backend_serves_until_the_new_one_loads(backends, opened, before, after):
    """A version whose settings have changed keeps its old backend until the new one is loaded."""
    backends.adopt([version(**before)])
    (old,) = opened
    old.is_loaded = True
    assert backends.use(TOY) is old
    backends.adopt([version(**after)])
    _, new = opened
    assert backends.use(TOY) is old
    assert not backends.reaches()[TOY].loaded
    assert backends.loaded(TOY)
    new.is_loaded = True
    assert backends.reaches()[TOY].loaded
    assert backends.use(TOY) is new
    assert (old.is_closed, new.is_closed) == (True, False)


def test_superseded_backend_is_closed(backends, opened):
    """A backend that is superseded while it loads is closed; its successor reports problems."""
    backends.adopt([version()])
    backends.adopt([version(placement="router")])
    backends.adopt([version(placement="router", num_threads=2)])
    assert [backend.is_closed for backend in opened] == [False, True, False]
    opened[2].reason = "out of memory"
    assert backends.reaches()[TOY].problem == "out of memory"


def test_idle_time_starts_with_loading_or_use(backends, opened, clock):
    """A version is idle since its last request, or since it was loaded."""
    backends.adopt([version()])
    clock.now_s = 100.0
    assert backends.reaches()[TOY].idle_s == 0.0
    opened[0].is_loaded = True
    clock.now_s = 105.0
    assert backends.reaches()[TOY].idle_s == 5.0
    backends.use(TOY)
    clock.now_s = 107.0
    backends.adopt([version()])
    assert backends.reaches()[TOY].idle_s == 2.0


def test_another_artifact_opens_another_backend(backends, opened):
    """A version in the router that is to serve another artifact opens another backend."""
    both = {"model.onnx": "a" * 64, "fast.onnx": "b" * 64}
    settings = VersionSettings(model="toy", version="1.0.0", placement="router")
    slow, fast = (
        ServedVersion(metadata=metadata(artifacts=both, serving_artifact=name), settings=settings)
        for name in ("model.onnx", "fast.onnx")
    )
    backends.adopt([slow])
    backends.adopt([fast])
    assert [backend.version.load.artifact for backend in opened] == ["a" * 64, "b" * 64]


def test_new_router_uses_the_load_that_serves(backends, opened):
    """A router that starts while a change loads serves with the previous settings until then."""
    old = version()
    changed = version(num_threads=2).model_copy(update={"replaces": old})
    backends.adopt([changed])
    serving, loading = opened
    assert (serving.version, loading.version) == (old, changed)
    serving.is_loaded = loading.is_loaded = True
    assert backends.use(TOY) is serving, "not all new replicas run"
    backends.adopt([changed.model_copy(update={"ready": True})])
    assert backends.use(TOY) is loading
    assert serving.is_closed


def test_changed_load_serves_where_the_old_one_is_lost(backends, opened):
    backends.adopt([version(num_threads=2).model_copy(update={"replaces": version()})])
    opened[1].is_loaded = True
    assert backends.use(TOY) is opened[1]


def test_withdrawn_change_keeps_the_backend(backends, opened):
    """A version that returns to the settings that serve opens no further backend."""
    old = version()
    backends.adopt([old])
    backends.adopt([version(num_threads=2).model_copy(update={"replaces": old})])
    backends.adopt([old])
    assert [backend.is_closed for backend in opened] == [False, True]
    opened[0].is_loaded = True
    assert backends.reaches()[TOY].loaded


def test_versions_missing_inside(backends, opened):
    """A version that other routers run inside them is missing until it is loaded in this one."""
    inside = version(placement="router")
    backends.adopt([inside, version("1.1.0")])
    assert backends.missing_inside() == {}, "no router has loaded it yet"
    backends.adopt([inside.model_copy(update={"ready": True}), version("1.1.0")])
    assert backends.missing_inside() == {TOY: None}
    opened[0].reason = "it is damaged"
    assert backends.missing_inside() == {TOY: "it is damaged"}
    opened[0].is_loaded = True
    assert backends.missing_inside() == {}


@pytest.mark.parametrize(("placement", "missing"), [("router", {TOY: None}), ("replicas", {})])
def test_load_that_is_missing_inside(backends, placement, missing):
    """Only the load that serves is required; a change may load for as long as it takes."""
    serving = version(placement=placement).model_copy(update={"ready": True})
    changed = version(placement="router", num_threads=2)
    backends.adopt([changed.model_copy(update={"replaces": serving})])
    assert backends.missing_inside() == missing
