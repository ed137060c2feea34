"""The run of the bots against a server, and its report."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.bar_close.bots import BOTS, CORES, EACH, PLAIN, PLAIN_EACH, SHARED, Call
from benchmarks.faults import default_settings
from benchmarks.report import Report
from benchmarks.serving import NAME, server
from registry import ModelStage

BARS = 12
VERSIONS = ("1.0.0", "1.1.0")
COUNTERPARTS: Mapping[str, str] = {SHARED: PLAIN, EACH: PLAIN_EACH}
"""The plain form with the same connections as a form of the client."""


def run(bars: int = BARS) -> Report:
    """Return the figures of each form, quiet and beside busy loops."""
    with server(VERSIONS) as running:
        asyncio.run(running.registry.set_model_stage(NAME, VERSIONS[1], ModelStage.STAGING))
        asyncio.run(running.deploy(default_settings()))
        return report(measure(running.cluster.url, bars), bars)


def measure(url: str, bars: int) -> list[Call]:
    """Return the calls of the bots, which run in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.bar_close.bots", url, str(bars)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603  ours
    return [Call(**call) for call in json.loads(printed)]


def report(calls: Sequence[Call], bars: int) -> Report:
    """Return the figures, those of the client with the ratios to its plain counterpart."""
    rows: dict[tuple[str, str], list[Call]] = {}
    for call in sorted(calls, key=lambda call: (call.load != "quiet", [*_ORDER].index(call.form))):
        rows.setdefault((call.form, call.load), []).append(call)
    figures = {row: _figures(found) for row, found in rows.items()}
    for (form, load), row in figures.items():
        if form in COUNTERPARTS:
            plain, client = rows[COUNTERPARTS[form], load], rows[form, load]
            for percent in (50, 99):
                row[f"p{percent}_ratio"] = _ratio(plain, client, percent)
    failures = {", ".join(row): failed for row, found in rows.items() if (failed := _failed(found))}
    notes = [
        f"{bars} bars per row with {BOTS} bots each, all in one process and one event loop; `busy` "
        f"bars beside {CORES} endless loops. The ratios are those to plain HTTP with as many "
        f"sessions: the medians over the bars, which alternate.",
        *(f"\n- {row}: {failed}" for row, failed in failures.items()),
    ]
    return Report(
        {", ".join(row): found for row, found in figures.items()},
        {"bots": BOTS, "bars": bars, "failures": failures},
        notes,
    )


_ORDER = (PLAIN, SHARED, PLAIN_EACH, EACH)


def _figures(calls: Sequence[Call]) -> dict[str, float]:
    took_ms = [call.took_s * 1e3 for call in calls if call.result == "ok"]
    return {
        "calls": len(calls),
        "responses": len(took_ms),
        "p50_ms": float(np.percentile(took_ms, 50)),
        "p99_ms": float(np.percentile(took_ms, 99)),
        "longest_ms": max(took_ms),
    }


def _ratio(plain: Sequence[Call], client: Sequence[Call], percent: float) -> float:
    """Return the median ratio of a percentile over the bars, so that one slow bar does not decide.

    A call without a response counts with the time until its failure.
    """
    by_bar: dict[int, tuple[list[float], list[float]]] = {}
    for number, calls in enumerate((plain, client)):
        for call in calls:
            by_bar.setdefault(call.bar, ([], []))[number].append(call.took_s)
    ratios = [
        float(np.percentile(with_client, percent) / np.percentile(without, percent))
        for without, with_client in by_bar.values()
    ]
    return float(np.median(ratios))


def _failed(calls: Sequence[Call]) -> dict[str, int]:
    return dict(Counter(call.result for call in calls if call.result != "ok"))
