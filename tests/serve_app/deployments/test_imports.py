"""What the processes of a server load when they start."""

import subprocess
import sys

from testkit.paths import ROOT


def test_routers_and_the_fleet_load_no_database_and_no_statistics():
    """Both take a fifth of a second of each start, and only the experiment log needs them."""
    code = "import sys, serve_app.app; print(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert "serve_app" in loaded
    assert {"sqlalchemy", "alembic", "scipy", "torch", "matplotlib"} & loaded == set()
