"""The core as front ends see it: a second front end needs nothing from the first."""

import subprocess
import sys

import pytest

from serve_app.errors import UnusableVersionError
from tests.serve_app.api.line_front_end import LineFrontEnd
from tests.serve_app.core import FakeBackend, FakeFleet, core

NUMBERS = "1,2,3,4,5,6"


def front_end(**parts):
    return LineFrontEnd(core(**parts).services)


def test_second_front_end_loads_no_rest():
    """A second front end and the core load neither the REST front end nor a web framework."""
    code = (
        "import sys, tests.serve_app.api.line_front_end\n"
        "loaded = [n for n in sys.modules if n.startswith(('serve_app.api.rest', 'fastapi'))]\n"
        "print(loaded)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_second_front_end_predicts():
    """A second front end serves predictions of the default and of named versions."""
    under_test = front_end()
    assert await under_test.serve(f"predict BTCUSDT {NUMBERS}") == "ok BUY toy:1.0.0"
    named = await under_test.serve(f"predict BTCUSDT {NUMBERS} model_version=staging")
    assert named == "ok SELL toy:1.1.0"


async def test_second_front_end_serves_batches():
    """A second front end serves batches, and failed requests keep their position."""
    line = f"batch A {NUMBERS}; B 1,2,3; C {NUMBERS} symbol=D; E {NUMBERS} model_version=1.1.0"
    first, short, invalid, named = (await front_end().serve(line)).split("; ")
    assert (first, named) == ("ok BUY toy:1.0.0", "ok SELL toy:1.1.0")
    assert short.startswith("error invalid_features: features: expected 6 finite numbers")
    assert invalid.startswith("error invalid_request: ")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("predict BTCUSDT 1,2,3", "invalid_features"),
        ("predict BTCUSDT 1,x", "invalid_request"),
        (f"predict BTCUSDT {NUMBERS} model_version=9.9.9", "not_served"),
        (f"predict BTCUSDT {NUMBERS}", "loading"),
        ("reload toy 1.2.0", "unusable_version"),
        ("forecast", "invalid_request"),
    ],
)
async def test_errors_are_known_by_their_code(line, code):
    """Every error of the core carries the code by which a front end reports it."""
    fleet = FakeFleet(UnusableVersionError("toy", "1.2.0", "sha256 differs"))
    response = await front_end(old=FakeBackend(loaded=False), fleet=fleet).serve(line)
    assert response.startswith(f"error {code}: ")


async def test_second_front_end_lists_and_reloads_models():
    """A second front end lists the served versions, and reloads one."""
    under_test = front_end()
    assert await under_test.serve("models") == "ok 1.0.0 1.1.0"
    assert await under_test.serve("reload toy 1.1.0") == "ok toy:1.1.0"
