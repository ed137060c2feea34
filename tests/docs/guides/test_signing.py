"""The commands of the guide to signed models run as they stand."""

import pytest

from registry.folder.trusted_keys import write_trusted_keys
from registry.layout import Layout
from registry.signatures import SigningKey, check_key_id
from testkit.models import linear_onnx
from testkit.snippets import page, run_shell

pytestmark = pytest.mark.slow

PAGE = page("docs/guides/signing.md")


def test_commands_run(tmp_path):
    """A key is created, and a version that is signed with it is promoted where that is required."""
    (tmp_path / "trained.onnx").write_bytes(linear_onnx())
    create, register = PAGE.blocks("bash")
    first, second = run_shell(create, folder=tmp_path).split()
    assert first == second == SigningKey(tmp_path / "research.pem").id
    (tmp_path / "models").mkdir()
    write_trusted_keys(Layout(tmp_path / "models"), [first])
    assert "trend:1.0.0 is in production" in run_shell(register, folder=tmp_path)


def test_example_is_a_key():
    """The id in the example of the configuration is that of a key."""
    (line,) = [line for line in PAGE.block("yaml").splitlines() if "ed25519" in line]
    check_key_id(line.split()[1])
