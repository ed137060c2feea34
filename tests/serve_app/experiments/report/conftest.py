"""Simulated experiments of every verdict, and their reports, each made once."""

import pytest

from serve_app.experiments.definition import EndReason
from tests.serve_app.experiments.report.pages import DAY, render
from tests.serve_app.experiments.reported import ended, running, simulate


@pytest.fixture(scope="session")
def no_effect():
    experiment = running(control_traffic=0.9, treatment_traffic=0.1)
    return experiment, simulate(experiment, 2, 4000)


@pytest.fixture(scope="session")
def win():
    experiment = running()
    blocks = simulate(experiment, 1, 4000, accuracy=(0.5, 0.7))
    return ended(experiment, blocks, EndReason.PROMOTED, DAY / 2), blocks


@pytest.fixture(scope="session")
def loss():
    experiment = running(
        exposure_steps=(0.1, 0.3, 0.5), auto_apply=True, max_latency_degradation_ms=1.0
    )
    blocks = simulate(
        experiment,
        3,
        4000,
        accuracy=(0.55, 0.4),
        latency_ms=(2.0, 5.0),
        error_rate=(0.001, 0.03),
        share=lambda part: (0.1, 0.3, 0.5)[int(3 * part)],
    )
    return ended(experiment, blocks, EndReason.ROLLED_BACK, DAY / 2), blocks


@pytest.fixture(scope="session")
def mismatch():
    experiment = running()
    return experiment, simulate(experiment, 4, 4000, accuracy=(0.5, 0.7), lost=(0.0, 0.2))


@pytest.fixture(scope="session")
def mirror():
    experiment = running(mode="mirror")
    blocks = simulate(experiment, 6, 2000, accuracy=(0.5, 0.6))
    return ended(experiment, blocks, EndReason.DURATION, DAY), blocks


@pytest.fixture(scope="session")
def one_variant():
    experiment = running(control_traffic=1.0, treatment_traffic=0.0)
    return experiment, simulate(experiment, 5, 300)


@pytest.fixture(scope="session")
def rendered(no_effect, win, loss, mismatch, mirror, one_variant):
    """The reports of all scenarios, each made once."""
    made = {
        "no_effect": no_effect,
        "win": win,
        "loss": loss,
        "mismatch": mismatch,
        "mirror": mirror,
        "one_variant": one_variant,
    }
    return {name: render(*scenario) for name, scenario in made.items()}
