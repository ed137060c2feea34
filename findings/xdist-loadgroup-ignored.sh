#!/usr/bin/env bash
# `pytest --dist loadgroup` spreads a group over all workers under pytest 9.2.
#
# Versions   pytest 9.2.0, pytest-xdist 3.8.0, Python 3.11
# Behaviour  Eight tests that carry the same xdist_group mark run in two workers. xdist appends the
#            group to the private attribute `_nodeid` of each test; the node ids that its scheduler
#            receives stay without it, so that every test counts as a group of its own. Nothing is
#            reported: a group that shares a server or a port just starts it twice.
# Expected   All tests of a group run in one worker, as the documentation of loadgroup says.
# Exit       0 while the behaviour is as described, 1 when it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet "pytest==9.2.0" "pytest-xdist==3.8.0"
cat >"$work/test_group.py" <<'PYTHON'
import os
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("one")


@pytest.mark.parametrize("number", range(8))
def test_member(number):
    time.sleep(0.2)
    Path(__file__).with_name(f"worker-{os.environ['PYTEST_XDIST_WORKER']}").touch()
PYTHON
cd "$work"
"$work/venv/bin/python" -m pytest -q -p no:cacheprovider -n 2 --dist loadgroup test_group.py | tail -n 1
workers=$(find . -maxdepth 1 -name 'worker-*' | wc -l)
echo "workers that ran tests of the one group: $workers"
[ "$workers" -eq 2 ] || { echo "the behaviour has changed: expected 2" >&2; exit 1; }
