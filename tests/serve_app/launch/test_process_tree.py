"""The processes of a launch are found by a variable that they inherit, and ended."""

import os
import subprocess
import sys
import uuid

import pytest

from serve_app.launch.process_tree import MARKER, ProcessTree

STUBBORN = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()  # leaves its parent's group, as Ray's and HAProxy's processes do
os.write(1, b"ready\\n")  # one write each, since the two share the pipe
signal.pause()
"""


@pytest.fixture
def tree():
    tree = ProcessTree(uuid.uuid4().hex)
    yield tree
    tree.end(lambda: True)


def start(tree, script):
    environment = {**os.environ, MARKER: tree.launch}
    return subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("in_a_hurry", [False, True])
def test_stubborn_processes(tree, in_a_hurry):
    """Processes that ignore signals and leave their group are ended."""
    with start(tree, STUBBORN) as parent:
        assert [parent.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        assert len(tree.members()) == 2
        assert tree.end(lambda: in_a_hurry) == []
    assert tree.members() == []


def test_orderly_end(tree):
    """A process that ends by itself receives no signal."""
    with start(tree, "pass") as process:
        assert tree.end(lambda: False) == []
    assert process.returncode == 0


def test_other_launch(tree):
    """The processes of another launch are not ended."""
    other = ProcessTree(uuid.uuid4().hex)
    with start(other, STUBBORN) as parent:
        parent.stdout.readline()
        assert tree.end(lambda: True) == []
        assert parent.poll() is None
        other.end(lambda: True)


def test_session():
    """Processes of the session belong to the launch, also without the variable."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        tree = ProcessTree(uuid.uuid4().hex, process.pid)
        assert [member.pid for member in tree.members()] == [process.pid]
        assert tree.end(lambda: True) == []
