"""Write and read rates of the experiment store, each beside the naive method in the same run.

Grouped writes are compared with one commit per row, and a whole analysis from summaries with the
few sums that one SQL statement computes from raw rows. SQLite, on the temporary folder's disk.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import orjson
from sqlalchemy import case, func, insert, select

from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.records import Outcome, PredictionRecord, Variant
from serve_app.experiments.store import ExperimentStore
from serve_app.experiments.store.database import open_database
from serve_app.experiments.store.log import ExperimentLog
from serve_app.experiments.store.schema import OUTCOMES, PREDICTIONS, SUMMARIES
from serve_app.experiments.summary import VariantSummary

Row = TypeVar("Row")
Figures = dict[str, float]

START = datetime(2026, 1, 5, tzinfo=UTC)
DURATION_S = 30 * 24 * 3600
GROUP = 1000
CALLERS = 32
LATENCIES_MS = np.random.default_rng(0).lognormal(0.5, 0.4, 1000)


def run(runs: int) -> dict[str, Figures]:
    """Measure a temporary database."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(f"sqlite:///{Path(folder) / 'experiments.db'}", runs)


def measure(url: str, runs: int) -> dict[str, Figures]:
    """Return rates and times by operation, each measured `runs` times in an empty database.

    The runs of compared operations are interleaved.
    """
    with ExperimentStore(url) as store:
        store.create_experiment(_definition("written", "m1"), START)
        results = _writing(store, runs)
        results[f"SQL sums over {2 * runs * GROUP:,} raw rows (peer)"] = _times(
            lambda: _sum_raw_rows(url), runs
        )
        for number, predictions in enumerate((1_000_000, 10_000_000)):
            name = f"experiment{number}"
            store.create_experiment(_definition(name, name), START)
            blocks = _insert_summaries(url, name, predictions)
            times = _times(lambda name=name: _analyse(store, name), runs)  # type: ignore[misc]
            results[f"analysis of {predictions:,} predictions"] = {**times, "blocks": blocks}
    return results


def _writing(store: ExperimentStore, runs: int) -> dict[str, Figures]:
    rates: dict[str, list[float]] = {}
    predictions = f"predictions, groups of {GROUP}", "predictions, a commit each (peer)"
    outcomes = (
        f"outcomes, lists of {GROUP}",
        "outcomes, a commit each (peer)",
        f"outcomes, {CALLERS} callers of the log",
    )
    for number in range(runs):
        first = 2 * number * GROUP
        group, others = (
            [_prediction(first + start + index) for index in range(GROUP)] for start in (0, GROUP)
        )
        few, rest = others[:50], others[50:]
        rates.setdefault(predictions[0], []).append(_rate(store.write_predictions, [group]))
        alone = [[record] for record in few]
        rates.setdefault(predictions[1], []).append(_rate(store.write_predictions, alone))
        store.write_predictions(rest)
        sent = [_outcome(record) for record in group]
        single = [[_outcome(record)] for record in few]
        shared = [[_outcome(record)] for record in rest[: 8 * CALLERS]]
        rates.setdefault(outcomes[0], []).append(_rate(store.record_outcomes, [sent]))
        rates.setdefault(outcomes[1], []).append(_rate(store.record_outcomes, single))
        rates.setdefault(outcomes[2], []).append(asyncio.run(_send_at_once(store, shared)))
    results = {
        name: {"rows_per_s": statistics.median(measured)} for name, measured in rates.items()
    }
    for names in (predictions, outcomes):
        peer = results[names[1]]["rows_per_s"]
        for name in names:
            results[name]["times_the_peer"] = results[name]["rows_per_s"] / peer
    return results


def _rate(write: Callable[[Sequence[Row]], object], groups: Sequence[Sequence[Row]]) -> float:
    began = time.perf_counter()
    for group in groups:
        write(group)
    return sum(len(group) for group in groups) / (time.perf_counter() - began)


async def _send_at_once(store: ExperimentStore, sent: Sequence[Sequence[Outcome]]) -> float:
    """Return the rate at which concurrent callers of the log send outcomes one by one."""
    log = ExperimentLog(store)

    async def send(caller: int) -> None:
        for outcomes in sent[caller::CALLERS]:
            await log.record_outcomes(outcomes)

    began = time.perf_counter()
    await asyncio.gather(*(send(caller) for caller in range(CALLERS)))
    elapsed_s = time.perf_counter() - began
    await log.close()
    return len(sent) / elapsed_s


def _times(call: Callable[[], object], runs: int) -> Figures:
    times_ms = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - began) * 1000)
    return {"median_ms": statistics.median(times_ms), "max_ms": max(times_ms)}


def _analyse(store: ExperimentStore, experiment_id: str) -> None:
    """Read all blocks and compute the complete analysis."""
    experiment = store.experiment(experiment_id)
    analyse(experiment.definition, experiment.clock, store.blocks(experiment_id))


def _sum_raw_rows(url: str) -> None:
    """Query a part of a summary: neither quantiles nor a confusion matrix."""
    position = case(
        (PREDICTIONS.c.direction == 1, 1.0), (PREDICTIONS.c.direction == 2, -1.0), else_=0.0
    )
    earned = OUTCOMES.c.market_return * position
    sums = (
        select(
            PREDICTIONS.c.variant,
            func.count(),
            func.count(PREDICTIONS.c.error),
            func.avg(PREDICTIONS.c.latency_ms),
            func.sum(earned),
            func.sum(earned * earned),
        )
        .join_from(PREDICTIONS, OUTCOMES, PREDICTIONS.c.prediction_id == OUTCOMES.c.prediction_id)
        .where(PREDICTIONS.c.experiment_id == "written")
        .group_by(PREDICTIONS.c.variant)
    )
    database = open_database(url)
    with database.reading() as connection:
        connection.execute(sums).all()
    database.close()


def _insert_summaries(url: str, experiment_id: str, predictions: int) -> int:
    """Store the summaries of so many predictions, all with outcomes; return the blocks."""
    clock = BlockClock.of(_definition(experiment_id, experiment_id), START)
    seconds = range(0, DURATION_S, 60)
    numbers = sorted({clock.block(START + timedelta(seconds=second)) for second in seconds})
    thousand = VariantSummary()
    for index in range(1000):
        record = _prediction(index)
        thousand.add_prediction(record)
        thousand.add_outcome(record, _outcome(record), dead_band=0.0)
    times = predictions // (2 * 1000 * len(numbers)) + 1
    summary = thousand.merge(*[thousand] * (times - 1))
    text = orjson.dumps(summary.to_dict()).decode()
    rows = [
        {"experiment_id": experiment_id, "block": number, "variant": variant, "summary": text}
        for number in numbers
        for variant in Variant
    ]
    database = open_database(url)
    with database.writing() as connection:
        connection.execute(insert(SUMMARIES), rows)
    database.close()
    return len(numbers)


def _definition(experiment_id: str, model: str) -> ExperimentDefinition:
    return ExperimentDefinition(
        experiment_id=experiment_id,
        control_model_name=model,
        control_model_version="1.0.0",
        treatment_model_name=model,
        treatment_model_version="1.1.0",
    )


def _prediction(number: int) -> PredictionRecord:
    return PredictionRecord(
        prediction_id=f"{number:032x}",
        time=START + timedelta(milliseconds=10 * number),
        model="m1",
        version="1.0.0",
        symbol="BTCUSDT",
        latency_ms=float(LATENCIES_MS[number % 1000]),
        experiment_id="written",
        variant=Variant.TREATMENT if number % 10 == 0 else Variant.CONTROL,
        treatment_share=0.1,
        direction=number % 3,
        confidence=0.6,
        expected_return=0.001,
    )


def _outcome(record: PredictionRecord) -> Outcome:
    market_return = 0.001 if record.latency_ms > 1.5 else -0.002
    return Outcome(
        prediction_id=record.prediction_id,
        market_return=market_return,
        time=record.time + timedelta(hours=1),
    )
