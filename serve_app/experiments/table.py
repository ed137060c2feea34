"""The summaries of an experiment as arrays over blocks of equal length, the statistics' input."""

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
"""Average size of a block: a comparison within blocks of n predictions loses 1/n of the
information."""

TRAFFIC_BLOCK_S = 1.0
"""Minimum length of a traffic block: a slow period of a fraction of a second is one event."""


@dataclass(frozen=True, slots=True)
class VariantTable:
    """One variant: its total, and each quantity by block."""

    total: VariantSummary
    accuracy: VariantBlocks
    """The share of labelled predictions that were correct."""
    returns: VariantBlocks
    """The return of a labelled prediction, signed by its position."""
    latency: VariantBlocks
    """The latency of the successful predictions, in ms."""
    errors: VariantBlocks
    """The share of attempted predictions that failed."""
    predictions: Floats
    """The number of predictions by traffic block, including those that the breaker rejected."""
    chance_sum: Floats
    """The sum of their probabilities of treatment at assignment, by traffic block."""


@dataclass(frozen=True, slots=True)
class PairTable:
    """The requests that both variants processed: treatment minus control by pair."""

    total: PairSummary
    accuracy: VariantBlocks
    returns: VariantBlocks
    latency: VariantBlocks


@dataclass(frozen=True, slots=True)
class Table:
    """An experiment, block by block.

    Quality (accuracy and returns) and traffic (latency and errors) have separate blocks: outcomes
    within one horizon are correlated, latencies are not, and harm to traffic must be found within
    seconds.
    """

    control: VariantTable
    treatment: VariantTable
    pairs: PairTable
    block_s: float
    """The length of a quality block."""
    blocks: int
    """The number of quality blocks with at least one prediction."""
    horizon_s: float | None
    """The stated horizon, or the mean delay of an outcome; None while there is no outcome."""
    neighbours: bool
    """Whether neighbouring quality blocks overlap so much that their covariance is included."""
    treated_share: Floats
    """Treatment's intended share by quality block; 0 in a block without predictions."""
    units: UnitTotals
    """Totals of the bots or symbols so far; empty where requests or blocks are assigned."""


@dataclass(frozen=True, slots=True)
class _Places:
    """The index of each summary's block, counted from the first block."""

    quality: NDArray[np.int64]
    traffic: NDArray[np.int64]


def tabulate(definition: ExperimentDefinition, clock: BlockClock, blocks: Sequence[Block]) -> Table:
    """Return the blocks of an experiment as arrays.

    Blocks are merged into blocks of equal length. Where the variants are compared within a block,
    an average block holds at least PREDICTIONS_PER_BLOCK predictions; a quality block is at least
    one horizon long.
    """
    control = VariantSummary().merge(*(block.control for block in blocks))
    treatment = VariantSummary().merge(*(block.treatment for block in blocks))
    pairs = PairSummary().merge(*(block.pairs for block in blocks))
    horizon_s = definition.horizon_s
    if horizon_s is None:
        horizon_s = _mean_delay_s(control, treatment)
    keys = [block.block for block in blocks]
    within = definition.mode is Mode.SPLIT and definition.assignment is not Assignment.SWITCHBACK
    fewest = PREDICTIONS_PER_BLOCK if within else 0
    size = common_length(
        keys,
        max(
            (horizon_s or 0.0) / clock.base_s,
            _length_with(fewest, keys, control.labelled + treatment.labelled),
        ),
    )
    predictions = control.predictions + treatment.predictions
    traffic_size = common_length(
        keys, max(TRAFFIC_BLOCK_S / clock.base_s, _length_with(fewest, keys, predictions))
    )
    places = _Places(_place(keys, size), _place(keys, traffic_size))
    block_s = size * clock.base_s
    return Table(
        control=_variant([block.control for block in blocks], places, control, definition),
        treatment=_variant([block.treatment for block in blocks], places, treatment, definition),
        pairs=_pairs([block.pairs for block in blocks], places, pairs),
        block_s=block_s,
        blocks=len(np.unique(places.quality)),
        horizon_s=horizon_s,
        neighbours=block_s < LONG_BLOCK_HORIZONS * (horizon_s or 0.0),
        treated_share=_treated_share(blocks, places.quality, definition),
        units=newest_units(blocks),
    )


def newest_units(blocks: Iterable[Block]) -> UnitTotals:
    """Return the unit totals of the latest block; empty if no units are assigned."""
    known = [(block.block, block.units) for block in blocks if block.units is not None]
    return max(known, key=lambda item: item[0])[1] if known else UnitTotals()


def _treated_share(
    blocks: Sequence[Block], place: NDArray[np.int64], definition: ExperimentDefinition
) -> Floats:
    chances, counts = [], []
    for block in blocks:
        variants = block.control, block.treatment
        chances.append(sum(_chance_sum(variant, definition) for variant in variants))
        counts.append(sum(variant.predictions for variant in variants))
    return _by_block(chances, place) / np.maximum(_by_block(counts, place), 1.0)


def _chance_sum(variant: VariantSummary, definition: ExperimentDefinition) -> float:
    """Return the sum of the predictions' probabilities of treatment; unknown ones count as the
    intended share.
    """
    return (
        variant.share_sum + (variant.predictions - variant.assigned) * definition.treatment_traffic
    )


def _mean_delay_s(*variants: VariantSummary) -> float | None:
    """Return the mean delay of an outcome; None without outcomes.

    A single early outcome would distort the shortest delay, and blocks that are too short make the
    standard error too small; the mean is conservative.
    """
    labelled = sum(variant.labelled for variant in variants)
    least = [variant.least_delay_s for variant in variants if variant.least_delay_s is not None]
    if not labelled or not least:
        return None
    return max(*least, sum(variant.delay_sum_s for variant in variants) / labelled)


def _length_with(count: int, keys: Sequence[int], total: int) -> float:
    """Return the length of blocks that hold `count` of `total` predictions on average."""
    if not keys or not total:
        return 1.0
    latest = max(keys)
    return count * (latest + length(latest) - min(keys)) / total


def _place(keys: Sequence[int], size: int) -> NDArray[np.int64]:
    place = np.array([key // size for key in keys], dtype=np.int64)
    return place - place.min() if len(place) else place


def _by_block(values: Sequence[float], place: NDArray[np.int64]) -> Floats:
    """Return the sums by block; a single empty block if there are none."""
    return np.bincount(place, weights=np.array(values, float), minlength=1).astype(float)


def _variant(
    parts: Sequence[VariantSummary],
    places: _Places,
    total: VariantSummary,
    definition: ExperimentDefinition,
) -> VariantTable:
    chances = [_chance_sum(part, definition) for part in parts]
    labelled = _by_block([part.labelled for part in parts], places.quality)
    correct = _by_block([part.correct for part in parts], places.quality)
    errors = _by_block([part.errors for part in parts], places.traffic)
    return VariantTable(
        total=total,
        accuracy=VariantBlocks(labelled, correct, correct),
        returns=VariantBlocks(
            labelled,
            _by_block([part.return_sum for part in parts], places.quality),
            _by_block([part.return_square_sum for part in parts], places.quality),
        ),
        latency=VariantBlocks(
            _by_block([part.succeeded for part in parts], places.traffic),
            _by_block([part.latency_sum for part in parts], places.traffic),
            _by_block([part.latency_square_sum for part in parts], places.traffic),
        ),
        errors=VariantBlocks(
            _by_block([part.attempted for part in parts], places.traffic), errors, errors
        ),
        predictions=_by_block([part.predictions for part in parts], places.traffic),
        chance_sum=_by_block(chances, places.traffic),
    )


def _pairs(parts: Sequence[PairSummary], places: _Places, total: PairSummary) -> PairTable:
    labelled = _by_block([part.labelled for part in parts], places.quality)
    gained = _by_block([part.only_treatment_correct for part in parts], places.quality)
    lost = _by_block([part.only_control_correct for part in parts], places.quality)
    earned = [part.treatment_return_sum - part.control_return_sum for part in parts]
    squares = [
        part.treatment_return_square_sum
        + part.control_return_square_sum
        - 2 * part.return_product_sum
        for part in parts
    ]
    return PairTable(
        total=total,
        accuracy=VariantBlocks(labelled, gained - lost, gained + lost),
        returns=VariantBlocks(
            labelled, _by_block(earned, places.quality), _by_block(squares, places.quality)
        ),
        latency=VariantBlocks(
            _by_block([part.pairs for part in parts], places.traffic),
            _by_block([part.latency_difference_sum for part in parts], places.traffic),
            _by_block([part.latency_difference_square_sum for part in parts], places.traffic),
        ),
    )
