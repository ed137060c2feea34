"""The processes around HAProxy: their states and names."""

import os
import signal
import subprocess
import sys
import time

from serve_app.launch.haproxy_processes import (
    Admin,
    Health,
    Routers,
    Serving,
    has_ended,
    read_serving,
    servers_of,
    state_of,
    write_serving,
)

CONFIG = """backend http-app
    server SERVE_REPLICA_app-Router-aa 127.0.0.1:30000 check addr unix@/a on-marked-down x
    server SERVE_REPLICA_app-Router-bb 127.0.0.1:30001 check addr unix@/b on-marked-down x
backend http-other
    server SERVE_REPLICA_other-Router-aa 127.0.0.1:30002 check
"""


def sleeping():
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def wait_for_state(process, state):
    deadline_s = time.monotonic() + 20
    while state_of(process.pid) != state:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_states(tmp_path):
    """A stopped process is distinguished from one that waits, and one that has ended from both."""
    with sleeping() as process:
        admin = Admin(tmp_path / "none.sock")
        health = Health(process.pid, admin)
        (tmp_path / f"aa.{process.pid}.alive").touch()
        routers = Routers(tmp_path)
        assert [health.is_stuck() for _ in range(3)] == [False] * 3
        process.send_signal(signal.SIGSTOP)
        wait_for_state(process, "T")
        assert [health.is_stuck() for _ in range(2)] == [False, True]
        assert [routers.newly_stopped() for _ in range(3)] == [[], ["aa"], []]
        process.send_signal(signal.SIGCONT)
        process.kill()
        wait_for_state(process, "Z")
        assert has_ended(process.pid)
        assert health.is_gone()
        assert routers.newly_stopped() == []
    assert routers.newly_stopped() == []
    assert list(tmp_path.iterdir()) == []


def test_servers():
    """Only servers that are checked by their heartbeats are marked down."""
    assert servers_of(CONFIG, ["aa"]) == ["http-app/SERVE_REPLICA_app-Router-aa"]
    assert servers_of(CONFIG, ["cc"]) == []


def test_serving(tmp_path):
    """The file names the processes; a process id that another program has is not HAProxy."""
    assert read_serving(tmp_path) is None
    write_serving(tmp_path, Serving(os.getpid(), 2))
    assert read_serving(tmp_path) == Serving(os.getpid(), 2)
    assert not read_serving(tmp_path).runs(tmp_path / "haproxy.cfg")
