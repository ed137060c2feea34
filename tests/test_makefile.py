"""The Makefile's set-up, with stand-ins for Python and pip on a search path of its own."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from testkit.paths import ROOT

TOOLS = ("make", "sh", "cat", "cmp", "cp", "head", "mkdir", "mv", "rm", "sleep", "touch")

# Answers like an interpreter of the version below, and notes what it was asked to install.
PYTHON = """#!/bin/sh
case "$*" in
--version) echo "Python {version}" ;;
*version_info*) exit {too_old} ;;
"-c ") exit 0 ;;
"-m venv --clear .venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
*pip*install*)
    echo "$*" >>calls
    [ ! -e hang ] || {{ touch hanging; sleep 60; }}
    [ ! -e broken ]
    ;;
*) echo "ran $*" ;;
esac
"""


class Checkout:
    """A copy of the Makefile where every program on the search path is chosen by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.programs = folder / "bin"
        for each in (self.folder, self.programs):
            each.mkdir()
        shutil.copy(ROOT / "Makefile", self.folder)
        (self.folder / "requirements.lock").write_text("numpy==2.4.0\n")
        for tool in TOOLS:
            (self.programs / tool).symlink_to(shutil.which(tool))

    def add(self, name, script):
        path = self.programs / name
        path.write_text(script)
        path.chmod(0o755)

    def add_python(self, name, version="3.11.9"):
        too_old = int(tuple(map(int, version.split("."))) < (3, 11))
        self.add(name, PYTHON.format(version=version, too_old=too_old))

    @property
    def environment(self):
        return {"PATH": str(self.programs)}

    def start(self, *arguments):
        """Start make in a process group of its own."""
        return subprocess.Popen(
            [self.programs / "make", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # A shell that starts the tests in the background has them ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def make(self, *arguments):
        return subprocess.run(
            [self.programs / "make", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def installs(self):
        """Return how often the locked requirements were installed."""
        calls = self.folder / "calls"
        return calls.read_text().count("-r requirements.lock") if calls.exists() else 0


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_a_target_sets_up_once(checkout):
    checkout.add_python("python3.11")
    first, second = checkout.make("test"), checkout.make("test")
    assert "Setting up .venv with python3.11 (Python 3.11.9)" in first.stdout
    assert "ran -m pytest" in first.stdout
    assert "ran -m pytest" in second.stdout
    assert (first.returncode, second.returncode) == (0, 0)
    assert "Setting up" not in second.stdout
    assert checkout.installs() == 1


def test_another_requirements_lock_is_installed(checkout):
    checkout.add_python("python3.11")
    checkout.make("test")
    (checkout.folder / "requirements.lock").write_text("numpy==2.4.1\n")
    checkout.make("test")
    assert checkout.installs() == 2


def test_a_touched_requirements_lock_is_not_installed_again(checkout):
    checkout.add_python("python3.11")
    checkout.make("test")
    os.utime(checkout.folder / "requirements.lock")
    checkout.make("test")
    assert checkout.installs() == 1


def test_a_moved_checkout_is_set_up_again(checkout):
    checkout.add_python("python3.11")
    checkout.make("test")
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("moved"))
    assert checkout.make("test").returncode == 0
    assert checkout.installs() == 2


def test_linked_environment_is_kept(checkout, tmp_path):
    """An environment that several checkouts share by a link is used and never cleared."""
    shared = tmp_path / "shared"
    (shared / "bin").mkdir(parents=True)
    checkout.add_python("python3.11")
    shutil.copy(checkout.programs / "python3.11", shared / "bin" / "python")
    (checkout.folder / ".venv").symlink_to(shared)
    assert "ran -m pytest" in checkout.make("test").stdout
    assert checkout.installs() == 0
    assert (shared / "bin" / "python").exists()


def test_a_failed_set_up_says_so_and_is_finished_by_the_next_call(checkout):
    checkout.add_python("python3.11")
    broken = checkout.folder / "broken"
    broken.touch()
    failed = checkout.make("test")
    assert failed.returncode != 0
    assert "did not finish" in failed.stderr
    assert "ran" not in failed.stdout
    broken.unlink()
    assert checkout.make("test").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_set_up_is_finished_by_the_next_call(checkout, number):
    checkout.add_python("python3.11")
    hang = checkout.folder / "hang"
    hang.touch()
    running = checkout.start("test")
    deadline_s = time.monotonic() + 30
    while not (checkout.folder / "hanging").exists():
        assert time.monotonic() < deadline_s, "the set-up never began"
        time.sleep(0.02)
    os.killpg(running.pid, number)
    assert running.wait(30) != 0
    hang.unlink()
    assert "ran -m pytest" in checkout.make("test").stdout
    assert checkout.installs() == 2


@pytest.mark.skipif(shutil.which("flock") is None, reason="calls take turns where there is flock")
def test_two_calls_at_once_set_up_once(checkout):
    checkout.add_python("python3.11")
    (checkout.programs / "flock").symlink_to(shutil.which("flock"))
    both = [checkout.start(target) for target in ("test", "check")]
    for each in both:
        each.wait(30)
    assert checkout.installs() == 1
    assert checkout.make("test").returncode == 0


def test_a_python_that_does_not_run_or_is_too_old_is_passed_over(checkout):
    checkout.add("python3.11", '#!/bin/sh\necho "pyenv: python3.11: command not found"; exit 127\n')
    checkout.add_python("python3.12", "3.10.1")
    checkout.add_python("python3", "3.13.2")
    assert "Setting up .venv with python3 (Python 3.13.2)" in checkout.make("test").stdout


def test_without_a_usable_python_it_says_what_was_found_and_what_to_do(checkout):
    checkout.add("python3.12", '#!/bin/sh\necho "pyenv: python3.12: command not found"; exit 127\n')
    checkout.add_python("python3", "3.9.2")
    done = checkout.make("serve")
    assert done.returncode != 0
    for words in (
        "Expected 3.11 or newer",
        "python3.11: not found",
        "python3.12: pyenv: python3.12: command not found",
        "python3: Python 3.9.2",
        "make serve PYTHON=/path/to/python3.11",
    ):
        assert words in done.stderr


@pytest.mark.parametrize(("given", "found"), [("old", "Python 3.9.2"), ("absent", "not found")])
def test_a_given_python_that_cannot_do_is_named_and_no_other_is_taken(checkout, given, found):
    checkout.add_python("python3.11")
    checkout.add_python("old", "3.9.2")
    done = checkout.make("test", f"PYTHON={given}")
    assert done.returncode != 0
    assert f"{given}: {found}" in done.stderr
    assert checkout.installs() == 0


def test_a_given_python_is_taken(checkout):
    checkout.add_python("python3.11")
    checkout.add_python("mine", "3.12.4")
    assert "Setting up .venv with mine" in checkout.make("test", "PYTHON=mine").stdout
