"""Simulated experiments as the store holds them, as input of analyses and reports."""

from datetime import timedelta

import numpy as np

from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import Block, BlockClock
from serve_app.experiments.definition import EndReason, ExperimentStatus
from serve_app.experiments.history import HistoryEntry, StoredExperiment
from serve_app.experiments.records import BUY, SELL, Outcome, Variant
from serve_app.experiments.statistics.unit_moments import SIZE
from serve_app.experiments.units import UnitTotals, measure, slice_of
from tests.serve_app.experiments.factories import START, definition, prediction

HALF = {"control_traffic": 0.5, "treatment_traffic": 0.5}
CREATED = HistoryEntry(time=START, action="created", details={})


def running(**changes):
    """Return a running experiment; by default split in half, positions held for ten minutes."""
    return StoredExperiment(
        definition=definition(**{**HALF, "horizon_s": 600.0, **changes}),
        status=ExperimentStatus.RUNNING,
        started_at=START,
        ended_at=None,
        end_reason=None,
        final_report=None,
    )


def ended(experiment, blocks, reason, after):
    """Return the experiment after its end, with its final analysis."""
    clock = BlockClock.of(experiment.definition, START)
    final = analyse(
        experiment.definition,
        clock,
        blocks,
        status=ExperimentStatus.COMPLETED,
        at_planned_end=reason is EndReason.DURATION,
    )
    return StoredExperiment(
        definition=experiment.definition,
        status=ExperimentStatus.COMPLETED,
        started_at=START,
        ended_at=START + after,
        end_reason=reason,
        final_report=dict(final.document),
    )


def simulate(
    experiment,
    seed,
    count,
    *,
    over=timedelta(hours=12),
    accuracy=(0.52, 0.52),
    latency_ms=(2.0, 2.1),
    error_rate=(0.001, 0.001),
    lost=(0.0, 0.0),
    share=None,
    labelled=1.0,
    bots=0,
):
    """Return the blocks of `count` requests, evenly distributed over a time.

    Args:
        experiment: the experiment that assigns the requests.
        accuracy, latency_ms, error_rate: the values of control and treatment.
        lost: the share of each variant's predictions that are never recorded.
        share: treatment's share as a function of the part of the time passed; by default the
            intended one.
        labelled: the share of the predictions that receive an outcome.
        bots: the number of bots that send requests at random, each in one variant; 0 where requests
            are assigned.
    """
    made, generator = experiment.definition, np.random.default_rng(seed)
    clock = BlockClock.of(made, START)
    mirrored = made.mode == "mirror"
    blocks, units = {}, Units(bots, generator)
    for number in range(count):
        part = number / count
        second = part * over.total_seconds()
        chance = made.treatment_traffic if share is None else share(part)
        bot = units.draw()
        treated = generator.random() < chance if bot is None else bool(units.treated[bot])
        variants = (False, True) if mirrored else (treated,)
        market = float(0.001 * generator.standard_normal())
        has_outcome = generator.random() < labelled
        records = {}
        for treatment in variants:
            if generator.random() < lost[treatment]:
                continue
            right = generator.random() < accuracy[treatment]
            failed = generator.random() < error_rate[treatment]
            record = prediction(
                second,
                variant=Variant.TREATMENT if treatment else Variant.CONTROL,
                treatment_share=None if mirrored else chance,
                direction=None if failed else (BUY if right == (market > 0) else SELL),
                latency_ms=float(latency_ms[treatment] * generator.lognormal(0.0, 0.35)),
                mirrored=mirrored,
                **({"error": "prediction_failed"} if failed else {}),
            )
            records[treatment] = record
            key = clock.block(record.time)
            block = blocks.setdefault(key, Block(block=key))
            variant = block.treatment if treatment else block.control
            variant.add_prediction(record)
            units.see(bot, record.variant, chance)
            if has_outcome:
                variant.add_outcome(record, _outcome(market, second), made.dead_band)
                units.label(bot, record, _outcome(market, second))
            block.units = units.known()
        if mirrored and len(records) == 2:
            block.pairs.add_predictions(records[False], records[True])
            if has_outcome:
                block.pairs.add_outcome(
                    records[False], records[True], _outcome(market, second), made.dead_band
                )
    return list(blocks.values())


class Units:
    """The bots of a simulated experiment, each in a fixed variant, half of them in each."""

    def __init__(self, count, generator):
        self._generator = generator
        self.treated = generator.permutation(count) % 2 == 1 if count else []
        self._sums = np.zeros((count, SIZE))
        self._seen = set()
        self._totals = UnitTotals()

    def draw(self):
        return int(self._generator.integers(len(self._sums))) if len(self._sums) else None

    def see(self, bot, variant, share):
        if bot is not None and bot not in self._seen:
            self._seen.add(bot)
            self._totals.see(variant, share, first=True)

    def label(self, bot, record, outcome):
        if bot is None or record.direction is None:
            return
        added = np.zeros(SIZE)
        added[slice_of(record.variant)] = measure(record, outcome, 0.0)
        self._totals.label(self._sums[bot], added, np.outer(added, added))
        self._sums[bot] += added

    def known(self):
        return UnitTotals.from_dict(self._totals.to_dict()) if self._seen else None


def _outcome(market_return, second):
    return Outcome(
        prediction_id="p",
        market_return=market_return,
        time=START + timedelta(seconds=second + 600),
    )
