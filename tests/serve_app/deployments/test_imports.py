"""The modules that the processes of a server import when they start."""

import subprocess
import sys

import pytest

from testkit.paths import ROOT

pytestmark = pytest.mark.slow


def test_the_graph_imports_no_heavy_library():
    """Every process that a server starts imports the graph, and most of them use none of these.

    Ray imports lark if certain packages are installed (`findings/jsonschema-grammar-import.sh`).
    """
    code = "import sys, serve_app.app; print(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert "serve_app" in loaded
    assert {"sqlalchemy", "alembic", "scipy", "torch", "matplotlib", "lark"} & loaded == set()
