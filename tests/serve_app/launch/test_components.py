"""The components of a server are found by the names of its session's processes."""

import shutil
import signal
import subprocess
import time

import psutil
import pytest

from serve_app.launch.components import NAMES, observe_processes
from serve_app.launch.process_tree import is_in_session
from serve_app.launch.supervision import RUNNING, Component, Condition, Finding

SLEEP = shutil.which("sleep")


@pytest.fixture
def session(tmp_path):
    """A session of processes that sleep, under the names of a server's components."""
    commands = []
    for name in NAMES:
        copy = tmp_path / name
        shutil.copy(SLEEP, copy)
        commands.append(f"'{copy}' 60 &")
    with subprocess.Popen(
        ["bash", "-c", "\n".join([*commands, "wait"])], start_new_session=True
    ) as driver:
        wait_until(lambda: len(observe_processes(driver.pid)) == len(NAMES) + 1)
        yield driver.pid
        for process in psutil.process_iter():
            if is_in_session(process, driver.pid):
                process.kill()


def wait_until(is_true):
    deadline_s = time.monotonic() + 10.0
    while not is_true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def member(session, name):
    (found,) = [
        process
        for process in psutil.process_iter()
        if is_in_session(process, session) and process.name() == name
    ]
    return found


def test_running(session):
    """Every component is found, and the leader of the session is the driver."""
    expected = dict.fromkeys([*NAMES.values(), Component.DRIVER], RUNNING)
    assert observe_processes(session) == expected


def test_dead_process(session):
    """A component without a process is not found, also while its parent has not waited for it."""
    member(session, "raylet").kill()
    wait_until(lambda: Component.RAYLET not in observe_processes(session))
    assert observe_processes(session)[Component.GCS] == RUNNING


def test_stopped_process(session):
    """A component that a signal has stopped is found to be so until it is continued."""
    gcs = member(session, "gcs_server")
    gcs.send_signal(signal.SIGSTOP)
    wait_until(lambda: observe_processes(session)[Component.GCS] == Finding(Condition.STOPPED))
    gcs.send_signal(signal.SIGCONT)
    wait_until(lambda: observe_processes(session)[Component.GCS] == RUNNING)


def test_other_sessions(session):
    """The processes of other servers do not count."""
    assert observe_processes(session + 1_000_000) == {}
