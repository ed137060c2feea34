"""The summaries of an experiment as arrays over equally long blocks, which the statistics take."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_app.experiments.blocks import Block, BlockClock, common_length, length
from serve_app.experiments.definition import Assignment, ExperimentDefinition, Mode
from serve_app.experiments.statistics.estimates import LONG_BLOCK_HORIZONS, VariantBlocks
from serve_app.experiments.summary import PairSummary, VariantSummary
from serve_app.experiments.units import UnitTotals

Floats = NDArray[np.float64]

PREDICTIONS_PER_BLOCK = 8
"""Comparing the variants within blocks of n predictions loses 1/n of the information."""

TRAFFIC_BLOCK_S = 1.0
"""Least length of a block of traffic: a slow spell of a fraction of a second is one event."""


@dataclass(frozen=True, slots=True)
class VariantTable:
    """One variant: all of it, and each quantity by block."""

    total: VariantSummary
    accuracy: VariantBlocks
    """Whether a labelled prediction was right."""
    returns: VariantBlocks
    """What its position earned."""
    latency: VariantBlocks
    """In ms, of the answered predictions."""
    errors: VariantBlocks
    """Whether a prediction failed, of those that the variant was asked for."""
    predictions: Floats
    """How many there were by block of traffic, withheld ones included."""
    chance_sum: Floats
    """Sum of the chances of treatment they were assigned with, by block of traffic."""


@dataclass(frozen=True, slots=True)
class PairTable:
    """The requests that both variants answered: treatment minus control by pair."""

    total: PairSummary
    accuracy: VariantBlocks
    returns: VariantBlocks
    latency: VariantBlocks


@dataclass(frozen=True, slots=True)
class Table:
    """An experiment, block by block.

    Quality (accuracy and returns) and traffic (latency and errors) have blocks of their own: the
    horizon ties outcomes together, not latencies, and harm to traffic is to be found in seconds.
    """

    control: VariantTable
    treatment: VariantTable
    pairs: PairTable
    block_s: float
    """Length of a block of quality."""
    blocks: int
    """Blocks of quality in which there was a prediction."""
    horizon_s: float | None
    """Stated, or the mean delay of an outcome; None while there is no outcome."""
    neighbours: bool
    """Whether neighbouring blocks of quality overlap so much that their covariance counts."""
    treated_share: Floats
    """Treatment's intended share by block of quality; 0 where there was no prediction."""
    units: UnitTotals
    """Bots or symbols as they are known by now; empty where requests or blocks are assigned."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Which block each summary belongs to, counted from the first."""

    quality: NDArray[np.int64]
    traffic: NDArray[np.int64]


def tabulate(definition: ExperimentDefinition, clock: BlockClock, blocks: Sequence[Block]) -> Table:
    """Return the blocks of an experiment as arrays.

    Blocks are merged into equally long ones. Where the variants are compared within a block, an
    average block holds at least PREDICTIONS_PER_BLOCK; a block of quality is at least one horizon
    long.
    """
    control = VariantSummary().merge(*(each.control for each in blocks))
    treatment = VariantSummary().merge(*(each.treatment for each in blocks))
    pairs = PairSummary().merge(*(each.pairs for each in blocks))
    horizon_s = definition.horizon_s
    if horizon_s is None:
        horizon_s = _usual_delay_s(control, treatment)
    keys = [each.block for each in blocks]
    within = definition.mode is Mode.SPLIT and definition.assignment is not Assignment.SWITCHBACK
    fewest = PREDICTIONS_PER_BLOCK if within else 0
    size = common_length(
        keys,
        max(
            (horizon_s or 0.0) / clock.base_s,
            _length_with(fewest, keys, control.labelled + treatment.labelled),
        ),
    )
    answered = control.predictions + treatment.predictions
    traffic_size = common_length(
        keys, max(TRAFFIC_BLOCK_S / clock.base_s, _length_with(fewest, keys, answered))
    )
    places = _Places(_place(keys, size), _place(keys, traffic_size))
    block_s = size * clock.base_s
    return Table(
        control=_variant([each.control for each in blocks], places, control, definition),
        treatment=_variant([each.treatment for each in blocks], places, treatment, definition),
        pairs=_pairs([each.pairs for each in blocks], places, pairs),
        block_s=block_s,
        blocks=len(np.unique(places.quality)),
        horizon_s=horizon_s,
        neighbours=block_s < LONG_BLOCK_HORIZONS * (horizon_s or 0.0),
        treated_share=_treated_share(blocks, places.quality, definition),
        units=newest_units(blocks),
    )


def newest_units(blocks: Iterable[Block]) -> UnitTotals:
    """Return what is known of the units by now; empty where none are assigned."""
    known = [(each.block, each.units) for each in blocks if each.units is not None]
    return max(known, key=lambda each: each[0])[1] if known else UnitTotals()


def _treated_share(
    blocks: Sequence[Block], place: NDArray[np.int64], definition: ExperimentDefinition
) -> Floats:
    chances, counts = [], []
    for each in blocks:
        variants = each.control, each.treatment
        chances.append(sum(_chance_sum(variant, definition) for variant in variants))
        counts.append(sum(variant.predictions for variant in variants))
    return _by_block(chances, place) / np.maximum(_by_block(counts, place), 1.0)


def _chance_sum(variant: VariantSummary, definition: ExperimentDefinition) -> float:
    """Return the sum of the predictions' chances of treatment, the intended one for want of it."""
    return (
        variant.share_sum + (variant.predictions - variant.assigned) * definition.treatment_traffic
    )


def _usual_delay_s(*variants: VariantSummary) -> float | None:
    """Return how long outcomes take to come, on average; None without any.

    The shortest delay would be undone by a single early outcome, and blocks that are too short make
    the error too small; the mean errs on the other side.
    """
    labelled = sum(each.labelled for each in variants)
    least = [each.least_delay_s for each in variants if each.least_delay_s is not None]
    if not labelled or not least:
        return None
    return max(*least, sum(each.delay_sum_s for each in variants) / labelled)


def _length_with(count: int, keys: Sequence[int], total: int) -> float:
    """Return the length of blocks that hold `count` of `total` on average."""
    if not keys or not total:
        return 1.0
    latest = max(keys)
    return count * (latest + length(latest) - min(keys)) / total


def _place(keys: Sequence[int], size: int) -> NDArray[np.int64]:
    place = np.array([key // size for key in keys], dtype=np.int64)
    return place - place.min() if len(place) else place


def _by_block(values: Sequence[float], place: NDArray[np.int64]) -> Floats:
    """Return the sums by block; one empty block when there is none."""
    return np.bincount(place, weights=np.array(values, float), minlength=1).astype(float)


def _variant(
    parts: Sequence[VariantSummary],
    places: _Places,
    total: VariantSummary,
    definition: ExperimentDefinition,
) -> VariantTable:
    chances = [_chance_sum(each, definition) for each in parts]
    labelled = _by_block([each.labelled for each in parts], places.quality)
    correct = _by_block([each.correct for each in parts], places.quality)
    errors = _by_block([each.errors for each in parts], places.traffic)
    return VariantTable(
        total=total,
        accuracy=VariantBlocks(labelled, correct, correct),
        returns=VariantBlocks(
            labelled,
            _by_block([each.return_sum for each in parts], places.quality),
            _by_block([each.return_square_sum for each in parts], places.quality),
        ),
        latency=VariantBlocks(
            _by_block([each.answered for each in parts], places.traffic),
            _by_block([each.latency_sum for each in parts], places.traffic),
            _by_block([each.latency_square_sum for each in parts], places.traffic),
        ),
        errors=VariantBlocks(
            _by_block([each.asked for each in parts], places.traffic), errors, errors
        ),
        predictions=_by_block([each.predictions for each in parts], places.traffic),
        chance_sum=_by_block(chances, places.traffic),
    )


def _pairs(parts: Sequence[PairSummary], places: _Places, total: PairSummary) -> PairTable:
    labelled = _by_block([each.labelled for each in parts], places.quality)
    gained = _by_block([each.only_treatment_correct for each in parts], places.quality)
    lost = _by_block([each.only_control_correct for each in parts], places.quality)
    earned = [each.treatment_return_sum - each.control_return_sum for each in parts]
    squares = [
        each.treatment_return_square_sum
        + each.control_return_square_sum
        - 2 * each.return_product_sum
        for each in parts
    ]
    return PairTable(
        total=total,
        accuracy=VariantBlocks(labelled, gained - lost, gained + lost),
        returns=VariantBlocks(
            labelled, _by_block(earned, places.quality), _by_block(squares, places.quality)
        ),
        latency=VariantBlocks(
            _by_block([each.pairs for each in parts], places.traffic),
            _by_block([each.latency_difference_sum for each in parts], places.traffic),
            _by_block([each.latency_difference_square_sum for each in parts], places.traffic),
        ),
    )
