"""The Makefile's set-up, with fake programs for Python and pip on a separate search path."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from testkit.paths import ROOT

TOOLS = ("grep", "make", "sh", "cat", "cmp", "cp", "head", "mkdir", "mv", "rm", "sleep", "touch")

# Behaves like an interpreter of the given version and records its pip calls.
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
    """A copy of the Makefile with a search path that holds only the programs that a test adds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "checkout"
        self.programs = folder / "bin"
        self.folder.mkdir()
        self.programs.mkdir()
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
        """Start make in a separate process group."""
        return subprocess.Popen(
            [self.programs / "make", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            # The tests ignore Ctrl-C if a shell started them in the background.
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


def test_set_up_once(checkout):
    """The first target sets up .venv, and the second finds it ready."""
    checkout.add_python("python3.11")
    first, second = checkout.make("test"), checkout.make("test")
    assert "Setting up .venv with python3.11 (Python 3.11.9)" in first.stdout
    assert "ran -m pytest" in first.stdout
    assert "ran -m pytest" in second.stdout
    assert (first.returncode, second.returncode) == (0, 0)
    assert "Setting up" not in second.stdout
    assert checkout.installs() == 1


def test_changed_lock(checkout):
    """A changed requirements.lock is installed."""
    checkout.add_python("python3.11")
    checkout.make("test")
    (checkout.folder / "requirements.lock").write_text("numpy==2.4.1\n")
    checkout.make("test")
    assert checkout.installs() == 2


def test_changed_packages(checkout):
    """A package that is new in pyproject.toml is installed: an editable install lists them."""
    checkout.add_python("python3.11")
    for packages in ('include = ["one*"]\n', 'include = ["one*", "two*"]\n'):
        (checkout.folder / "pyproject.toml").write_text(packages)
        checkout.make("test")
    assert checkout.installs() == 2


def test_touched_lock(checkout):
    """A requirements.lock that is only newer is not installed again."""
    checkout.add_python("python3.11")
    checkout.make("test")
    os.utime(checkout.folder / "requirements.lock")
    checkout.make("test")
    assert checkout.installs() == 1


def test_moved_checkout(checkout):
    """A checkout that was moved is set up again, since scripts in .venv hold its path."""
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


def test_failed_set_up(checkout):
    """A set-up that fails is reported, and the next call repeats it."""
    checkout.add_python("python3.11")
    broken = checkout.folder / "broken"
    broken.touch()
    failed = checkout.make("test")
    assert failed.returncode != 0
    assert "The set-up of .venv failed" in failed.stderr
    assert "ran" not in failed.stdout
    broken.unlink()
    assert checkout.make("test").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_set_up(checkout, number):
    """The call after an interrupted set-up repeats it."""
    checkout.add_python("python3.11")
    hang = checkout.folder / "hang"
    hang.touch()
    running = checkout.start("test")
    deadline_s = time.monotonic() + 30
    while not (checkout.folder / "hanging").exists():
        assert time.monotonic() < deadline_s, "the set-up never started"
        time.sleep(0.02)
    os.killpg(running.pid, number)
    assert running.wait(30) != 0
    hang.unlink()
    assert "ran -m pytest" in checkout.make("test").stdout
    assert checkout.installs() == 2


@pytest.mark.skipif(shutil.which("flock") is None, reason="only flock makes calls wait")
def test_concurrent_calls(checkout):
    """Concurrent calls set up .venv once."""
    checkout.add_python("python3.11")
    (checkout.programs / "flock").symlink_to(shutil.which("flock"))
    both = [checkout.start(target) for target in ("test", "check")]
    for call in both:
        call.wait(30)
    assert checkout.installs() == 1
    assert checkout.make("test").returncode == 0


def test_unusable_python(checkout):
    """A Python that does not run or is too old is skipped."""
    checkout.add("python3.11", '#!/bin/sh\necho "pyenv: python3.11: command not found"; exit 127\n')
    checkout.add_python("python3.12", "3.10.1")
    checkout.add_python("python3", "3.13.2")
    assert "Setting up .venv with python3 (Python 3.13.2)" in checkout.make("test").stdout


def test_no_usable_python(checkout):
    """Without a usable Python, the error lists what was found and the remedy."""
    checkout.add("python3.12", '#!/bin/sh\necho "pyenv: python3.12: command not found"; exit 127\n')
    checkout.add_python("python3", "3.9.2")
    done = checkout.make("serve")
    assert done.returncode != 0
    for words in (
        "expected Python 3.11 or newer",
        "python3.11: not found",
        "python3.12: pyenv: python3.12: command not found",
        "python3: Python 3.9.2",
        "make serve PYTHON=/path/to/python3.11",
    ):
        assert words in done.stderr


@pytest.mark.parametrize(("given", "found"), [("old", "Python 3.9.2"), ("absent", "not found")])
def test_unusable_given_python(checkout, given, found):
    """A PYTHON that cannot be used is an error; no other is taken in its place."""
    checkout.add_python("python3.11")
    checkout.add_python("old", "3.9.2")
    done = checkout.make("test", f"PYTHON={given}")
    assert done.returncode != 0
    assert f"{given}: {found}" in done.stderr
    assert checkout.installs() == 0


def test_given_python(checkout):
    """PYTHON takes precedence over the search."""
    checkout.add_python("python3.11")
    checkout.add_python("mine", "3.12.4")
    assert "Setting up .venv with mine" in checkout.make("test", "PYTHON=mine").stdout


def test_help_lists_every_target(checkout):
    """`make help` lists every target that has a description."""
    described = re.findall(r"^([\w-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for program in ("sed", "expand"):
        (checkout.programs / program).symlink_to(shutil.which(program))
    listed = re.findall(r"^  make ([\w-]+) ", checkout.make("help").stdout, flags=re.MULTILINE)
    assert listed == described


def test_unit_tests(checkout):
    """`make test-unit` leaves out the tests that need a cluster or take long."""
    checkout.add_python("python3.11")
    command = checkout.make("test-unit").stdout
    assert "-m not nightly and not cluster and not slow" in command
