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
def test_one_server_makes_requests_wait_as_long_as_queueing_theory_says(load):
    service_ms = 1.0
    waits = waits_ms(poisson_s(load * 1e3, 100), 1, service_ms)
    # Pollaczek and Khinchine: W = load x mean x (1 + CV^2) / (2 (1 - load))
    expected_ms = load * service_ms * (1 + SERVICE_CV**2) / (2 * (1 - load))
    assert np.mean(waits) == pytest.approx(expected_ms, rel=0.08)


def test_requests_that_find_a_free_server_do_not_wait():
    assert waits_ms(np.array([0.0, 0.0, 10.0]), 2, 1.0).tolist() == [0.0, 0.0, 0.0]


def test_of_requests_that_come_at_once_the_last_waits_for_all_before_it():
    waits = waits_ms(np.zeros(1000), 10, 1.0)
    assert waits[-1] == pytest.approx(1000 / 10, rel=0.1)


def test_every_bot_asks_once_in_every_burst():
    arrivals = bursts_s(bots=100, every_s=0.1, seconds=1.0)
    bursts, counts = np.unique(np.floor(arrivals / 0.1 + 1e-9), return_counts=True)
    assert (len(bursts), set(counts.tolist())) == (10, {100})


def test_a_demand_needs_whole_processes_that_are_busy_for_no_more_than_their_share():
    assert needed(10_000, cpu_ms=0.6, busy=0.6) == 10
    assert needed(10_001, cpu_ms=0.6, busy=0.6) == 11


def test_the_document_says_what_the_committed_results_come_to():
    growth, store = (
        json.loads((RESULTS / f"{name}.json").read_text())
        for name in ("growth", "experiment_store")
    )
    written = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    assert written.strip() == tables(growth, store)
