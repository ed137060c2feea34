"""The examples in docstrings run and print what they show."""

import doctest
import importlib

import pytest

MODULES = [
    "optimization.arguments",
    "optimization.optimizer",
    "optimization.outputs",
    "registry.comparison",
    "registry.layout",
    "registry.outputs",
    "registry.records",
    "registry.registry",
    "serve_app.cli.parsing",
    "serve_app.cli.tables",
    "serve_app.client.encoding",
    "serve_app.client.model_client",
    "serve_app.client.transport",
    "serve_app.experiments.assignment",
    "serve_app.experiments.records",
    "serve_app.experiments.statistics.effect",
    "serve_app.experiments.statistics.multiple_testing",
    "serve_app.experiments.statistics.sequential",
    "serve_app.monitoring.metrics",
    "serve_app.versions",
]
"""Every module that has examples."""


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_a_module(module, tmp_path, monkeypatch):
    """Each module listed has at least one example; each runs in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.ELLIPSIS, raise_on_error=False
    )
    assert result.failed == 0
    assert result.attempted > 0
