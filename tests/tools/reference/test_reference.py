"""The pages of the reference are complete and generated from the source."""

from pydantic import BaseModel

from serve_app.api.rest.errors import STATUS
from serve_app.monitoring.metrics import METRICS
from serve_app.settings import AppSettings
from tools.reference import cli, errors, http, markdown, metrics, python, settings
from tools.reference.fields import field_docs


class Sample(BaseModel):
    """A class with and without lines under its fields."""

    documented: int = 1
    """The line under the field."""
    bare: int = 2

    other: int = 3


def test_field_docs():
    """The line under a field belongs to that field alone."""
    assert field_docs(Sample) == {"documented": "The line under the field."}


def test_every_setting():
    """The page has a section for every group of settings and a row for every key."""
    page = settings.page()
    for path, model in settings.sections("", AppSettings):
        assert f"## `{path}`" in page or not path
        assert all(f"| `{name}` |" in page for name in model.model_fields)


def test_every_setting_described():
    """Every key has a line that states its meaning."""
    for _path, model in settings.sections("", AppSettings):
        assert [key for key, _type, _default, meaning in settings.rows(model) if not meaning] == []


def test_every_error_code():
    """Every code that the server may return is listed with its status."""
    page = errors.page()
    for error, status in STATUS.items():
        assert f"| {status} | `{error.code}` | `{error.__name__}` |" in page


def test_every_command():
    """Nested commands are listed with their options."""
    page = cli.page()
    assert "## modelctl promote\n" in page
    assert "## modelctl experiment create\n" in page
    assert "| `--traffic` |" in page


def test_every_endpoint():
    """Endpoints link to the bodies that they take and return."""
    page = http.page()
    assert "### POST /api/ml/predict\n" in page
    assert "[PredictBody](#predictbody)" in page
    assert "### PredictBody\n" in page


def test_default_of_field():
    """Defaults are written as JSON: a number that equals a truth value stays a number."""
    page = http.page()
    assert "| `exposure_step_hours` | number > 0 | `1.0` |" in page
    assert "| `auto_apply` | boolean | `false` |" in page


def test_every_public_name():
    """Public classes and functions are listed without memory addresses or paths of modules."""
    page = python.page()
    for heading in ("### ModelRegistry\n", "### ONNXOptimizer\n", "#### ModelClient.predict\n"):
        assert heading in page
    assert " at 0x" not in page


def test_every_metric():
    """Every metric is listed under the name that Prometheus scrapes."""
    page = metrics.page()
    assert all(f"| `{metric.exported_name}` |" in page for metric in METRICS)


def test_table():
    """A cell becomes one line, and a bar in it is escaped."""
    assert markdown.table(["a"], [["x\n| y"]]) == "| a |\n| --- |\n| x \\| y |\n"


def test_docstring():
    """The sections of a docstring become lists."""
    text = "Do it.\n\nArgs:\n    a: one\n        thing."
    assert markdown.docstring(text) == "Do it.\n\n**Args:**\n\n- `a`: one\n  thing.\n"
