"""The README's figures on speed equal the committed results."""

import json

from benchmarks.report import RESULTS
from benchmarks.serving_peers.contestants import CONTESTANTS
from testkit.paths import ROOT

README = (ROOT / "README.md").read_text()


def test_readme_table():
    """The README's table of speed is that of the committed results."""
    figures = json.loads((RESULTS / "peers.json").read_text())["figures"]
    rows = [
        f"| {contestant} | {figure['c1_p50_ms']:.2f} ms | {figure['c1_p99_ms']:.2f} ms "
        f"| {figure['c32_requests_per_s']:,.0f} | {figure['c32_cpu_ms_per_request']:.2f} ms |"
        for contestant in CONTESTANTS
        for figure in [figures[contestant]]
    ]
    assert "\n".join(rows) in README
