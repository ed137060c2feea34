"""The snippets of the guide to the registry run as they stand."""

import pytest

from registry.architectures import HybridCNNLSTM, save_checkpoint
from testkit.snippets import page, run_python, run_shell

pytestmark = pytest.mark.slow

PAGE = page("docs/guides/registry.md")


def test_snippets_run(tmp_path):
    """The Python snippet tells the history of a model, and modelctl reads it afterwards."""
    (tmp_path / "trained").mkdir()
    for version in ("1.0.0", "1.1.0"):
        network = HybridCNNLSTM(lstm_hidden_size=8)
        save_checkpoint(network, tmp_path / "trained" / f"{version}.pt")
    printed = run_python(PAGE.block("python"), folder=tmp_path)
    *entries, production, difference = printed.splitlines()
    assert len(entries) == 6
    assert entries[-1].endswith("rolled back 1.0.0 bob losses since noon")
    assert (production, difference) == ("1.0.0", "0.0")
    shown = run_shell(PAGE.block("bash"), folder=tmp_path)
    assert '"reason": "losses since noon"' in shown
