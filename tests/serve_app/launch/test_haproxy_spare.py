"""The spare serves while HAProxy is killed or stopped, and hands over to the next one."""

import os
import signal
import time
from pathlib import Path

import pytest

from serve_app.launch.haproxy_processes import (
    ADMIN_SOCKET,
    SPARE_SOCKET,
    Admin,
    has_ended,
    read_serving,
    state_of,
)
from tests.serve_app.launch.haproxy_servers import listening, started

pytestmark = pytest.mark.slow  # Serve's class waits half a second at each start


@pytest.fixture
def proxy(tmp_path):
    """A running HAProxy with one router, and its spare."""
    with listening() as port, started(tmp_path, port) as proxy:
        wait_until(lambda: is_idle(spare(proxy)))
        yield proxy


def wait_until(condition):
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def accepts_nothing(process):
    """Return whether each thread of a process has stopped or ended."""
    threads = [int(path.name) for path in Path(f"/proc/{process}/task").glob("*")]
    return all(state_of(thread) in ("", "T", "X", "Z") for thread in threads)


def spare(proxy):
    return Admin(proxy.folder / SPARE_SOCKET)


def is_idle(admin):
    """Return whether a HAProxy runs that accepts no connections."""
    return admin.process() is not None and limit(admin) == 0


def limit(admin):
    """Return the number of connections that the frontend for clients accepts."""
    for line in admin.send("show stat").splitlines():
        fields = line.split(",")
        if fields[:2] == ["http_frontend", "FRONTEND"]:
            return int(fields[6])
    raise AssertionError("no frontend")


def status(proxy):
    """Return the status of a request; every request is served, whichever HAProxy runs."""
    return proxy.get()[0]


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_failover(proxy, fault):
    """No connection is refused from the fault until a new proxy actor's HAProxy has taken over."""
    first = read_serving(proxy.folder).process
    kept = spare(proxy).process()
    os.kill(first, fault)
    wait_until(lambda: accepts_nothing(first))
    assert status(proxy) == 200
    wait_until(lambda: has_ended(first))
    assert status(proxy) == 200
    proxy.start(has_routers=False)  # a new proxy actor
    assert status(proxy) == 200
    assert read_serving(proxy.folder).process == first
    proxy.reload()
    assert status(proxy) == 200
    second = read_serving(proxy.folder).process
    assert Admin(proxy.folder / ADMIN_SOCKET).process() == second != first
    wait_until(lambda: spare(proxy).process() not in (kept, None))
    wait_until(lambda: is_idle(spare(proxy)))
    assert status(proxy) == 200


def test_an_actor_that_died_alone(proxy):
    """The HAProxy that it leaves serves until the next actor's one replaces it, and ends then."""
    first = read_serving(proxy.folder).process
    proxy.start(has_routers=False)
    assert status(proxy) == 200
    assert not has_ended(first)
    proxy.reload()
    wait_until(lambda: has_ended(first))
    assert status(proxy) == 200


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_a_spare_that_ends(proxy, fault):
    """It is replaced, and HAProxy serves meanwhile."""
    kept = spare(proxy).process()
    os.kill(kept, fault)
    assert status(proxy) == 200
    wait_until(lambda: spare(proxy).process() not in (kept, None))
    assert status(proxy) == 200
