"""The snippet of the guide to custom models runs as it stands."""

import asyncio

import pytest

from registry import ModelRegistry
from registry.trial_run import try_out
from testkit.snippets import page, run_python

pytestmark = pytest.mark.slow

PAGE = page("docs/guides/models.md")


def test_snippet_registers_a_usable_model(tmp_path):
    """The documented training registers and promotes a model that runs, with its label map."""
    # The converters use deprecated parts of their own libraries, so warnings are allowed.
    run_python(PAGE.block("python"), folder=tmp_path, environment={"PYTHONWARNINGS": "default"})
    registry = ModelRegistry(tmp_path / "models")
    metadata = asyncio.run(registry.get_production_model("logistic")).metadata
    assert metadata.label_map == {0: "BUY", 1: "HOLD", 2: "SELL"}
    content = asyncio.run(registry.read_artifact("logistic", metadata.version, "model.onnx"))
    try_out(metadata, {"model.onnx": content}.__getitem__)
