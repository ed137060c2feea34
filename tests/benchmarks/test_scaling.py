"""The calculation behind docs/guides/scaling.md."""

import json

import numpy as np
import pytest

from benchmarks.report import RESULTS
from benchmarks.scaling import (
    BEGIN,
    DOCUMENT,
    END,
    SERVICE_CV,
    bursts_s,
    needed,
    poisson_s,
    tables,
    waits_ms,
)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_single_server_wait(load):
    """The simulated wait of one server equals Pollaczek and Khinchine's formula."""
    service_ms = 1.0
    waits = waits_ms(poisson_s(load * 1e3, 100), 1, service_ms)
    # Pollaczek and Khinchine: W = load x mean x (1 + CV^2) / (2 (1 - load))
    expected_ms = load * service_ms * (1 + SERVICE_CV**2) / (2 * (1 - load))
    assert np.mean(waits) == pytest.approx(expected_ms, rel=0.08)


def test_free_server():
    """A request that finds a free server does not wait."""
    assert waits_ms(np.array([0.0, 0.0, 10.0]), 2, 1.0).tolist() == [0.0, 0.0, 0.0]


def test_simultaneous_requests():
    """Of simultaneous requests the last waits for all before it."""
    waits = waits_ms(np.zeros(1000), 10, 1.0)
    assert waits[-1] == pytest.approx(1000 / 10, rel=0.1)


def test_bursts():
    """Every bot sends one request in every burst."""
    arrivals = bursts_s(bots=100, every_s=0.1, seconds=1.0)
    bursts, counts = np.unique(np.floor(arrivals / 0.1 + 1e-9), return_counts=True)
    assert (len(bursts), set(counts.tolist())) == (10, {100})


def test_needed_processes():
    """A demand needs whole processes, each busy for at most its share."""
    assert needed(10_000, cpu_ms=0.6, busy=0.6) == 10
    assert needed(10_001, cpu_ms=0.6, busy=0.6) == 11


def test_document():
    """The document states the conclusions of the committed results."""
    growth, store = (
        json.loads((RESULTS / f"{name}.json").read_text())
        for name in ("growth", "experiment_store")
    )
    written = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    assert written.strip() == tables(growth, store)
