"""Folders that earlier launches left behind."""

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from serve_app.launch.environment import server_environment
from serve_app.launch.leftovers import (
    KEPT_SESSIONS,
    MIN_AGE_S,
    MIN_WORKING_AGE_S,
    TEMPORARY_PREFIXES,
    remove_leftovers,
)
from testkit.paths import ROOT

NAMES = [f"session_2026-01-{day:02}_00-00-00_000000_{day}" for day in range(1, 10)]


def with_sessions(environment):
    """Create sessions and return their folder."""
    sessions = Path(environment["RAY_TMPDIR"], "ray")
    for name in NAMES:
        (sessions / name / "logs").mkdir(parents=True)
    (sessions / "session_latest").symlink_to(sessions / NAMES[-1])
    return sessions


@contextmanager
def running(argument="", **variables):
    """Run a process with an argument and with variables in its environment."""
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, argument],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        yield
        process.stdin.close()


def test_old_sessions(short_folder):
    """The latest sessions are kept, and one that a process names, as Ray's processes do."""
    environment = server_environment({"TMPDIR": str(short_folder)})
    sessions = with_sessions(environment)
    with running(f"--session-name={NAMES[1]}"):
        remove_leftovers(environment, [], short_folder)
    kept = [NAMES[1], *NAMES[-KEPT_SESSIONS:], "session_latest"]
    assert sorted(folder.name for folder in sessions.iterdir()) == kept


def test_chosen_folder(short_folder):
    """Nothing is removed from a folder that the operator chose."""
    environment = server_environment({"RAY_TMPDIR": str(short_folder)})
    sessions = with_sessions(environment)
    remove_leftovers(environment, [], short_folder)
    assert len(list(sessions.iterdir())) == len(NAMES) + 1


def test_haproxy_folders(short_folder):
    """Those in use, new ones and links are kept; the others are removed."""
    environment = {"RAY_TMPDIR": str(short_folder)}
    used, unused, link = (short_folder / name for name in ("used", "unused", "link"))
    used.mkdir()
    unused.mkdir()
    link.symlink_to(used)
    remove_leftovers(environment, [used, unused, link], short_folder)
    assert unused.exists()
    with running(FILE=str(used / "haproxy.cfg")):
        later_s = time.time() + MIN_AGE_S + 1
        remove_leftovers(environment, [used, unused, link], short_folder, later_s)
    assert (used.exists(), unused.exists(), link.is_symlink()) == (True, False, True)


def test_working_folders(short_folder):
    """A working folder is removed after a day; one with any other name never is."""
    environment = {"RAY_TMPDIR": str(short_folder)}
    upload, other, cache = (
        short_folder / name
        for name in ("tradeserve-upload-a1", "tradeserve-abcdefgh", "tradeserve-artifacts-0")
    )
    for folder in (upload, other, cache):
        (folder / "content").mkdir(parents=True)
    now_s = time.time()
    remove_leftovers(environment, [], short_folder, now_s + MIN_WORKING_AGE_S - 60)
    assert upload.exists()
    remove_leftovers(environment, [], short_folder, now_s + MIN_WORKING_AGE_S + 60)
    assert (upload.exists(), other.exists(), cache.exists()) == (False, True, True)


def test_working_prefixes():
    """Every working folder that the sources create under our name is removed as one."""
    created = {
        name
        for package in ("registry", "optimization", "serve_app")
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r'TemporaryDirectory\(prefix="(tradeserve-[^"]*)"', path.read_text())
    }
    assert created == set(TEMPORARY_PREFIXES)
