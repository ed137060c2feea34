"""The summaries of an experiment as arrays over equally long blocks, which the statistics take."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_app.experiments.blocks import Block, BlockClock, common_length
from serve_app.experiments.definition import ExperimentDefinition
from serve_app.experiments.estimates import LONG_BLOCK_HORIZONS, ArmBlocks
from serve_app.experiments.summary import ArmSummary, PairSummary

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ArmTable:
    """One arm: all of it, and each quantity by block."""

    total: ArmSummary
    accuracy: ArmBlocks
    """Whether a labelled prediction was right."""
    returns: ArmBlocks
    """What its position earned."""
    latency: ArmBlocks
    """In ms, of the answered predictions."""
    errors: ArmBlocks
    """Whether a prediction failed."""


@dataclass(frozen=True, slots=True)
class PairTable:
    """The requests that both arms answered: treatment minus control by pair."""

    total: PairSummary
    accuracy: ArmBlocks
    returns: ArmBlocks
    latency: ArmBlocks


@dataclass(frozen=True, slots=True)
class Table:
    """An experiment, block by block."""

    control: ArmTable
    treatment: ArmTable
    pairs: PairTable
    block_s: float
    blocks: int
    horizon_s: float | None
    """Stated, or the shortest delay of an outcome; None while there is no outcome."""
    neighbours: bool
    """Whether neighbouring blocks overlap so much that their covariance counts."""


def tabulate(definition: ExperimentDefinition, clock: BlockClock, blocks: Sequence[Block]) -> Table:
    """Return the blocks of an experiment as arrays.

    Blocks are merged into equally long ones, at least one horizon long each.
    """
    control = ArmSummary().merge(*(each.control for each in blocks))
    treatment = ArmSummary().merge(*(each.treatment for each in blocks))
    pairs = PairSummary().merge(*(each.pairs for each in blocks))
    horizon_s = definition.horizon_s
    if horizon_s is None:
        delays = [each.least_delay_s for each in (control, treatment)]
        horizon_s = min((each for each in delays if each is not None), default=None)
    size = common_length((each.block for each in blocks), (horizon_s or 0.0) / clock.base_s)
    place = np.array([each.block // size for each in blocks], dtype=np.int64)
    place -= place.min() if len(place) else 0
    block_s = size * clock.base_s
    return Table(
        control=_arm([each.control for each in blocks], place, control),
        treatment=_arm([each.treatment for each in blocks], place, treatment),
        pairs=_pairs([each.pairs for each in blocks], place, pairs),
        block_s=block_s,
        blocks=len(np.unique(place)),
        horizon_s=horizon_s,
        neighbours=block_s < LONG_BLOCK_HORIZONS * (horizon_s or 0.0),
    )


def _by_block(values: Sequence[float], place: NDArray[np.int64]) -> Floats:
    """Return the sums by block; one empty block when there is none."""
    return np.bincount(place, weights=np.array(values, float), minlength=1).astype(float)


def _arm(parts: Sequence[ArmSummary], place: NDArray[np.int64], total: ArmSummary) -> ArmTable:
    labelled = _by_block([each.labelled for each in parts], place)
    correct = _by_block([each.correct for each in parts], place)
    errors = _by_block([each.errors for each in parts], place)
    return ArmTable(
        total=total,
        accuracy=ArmBlocks(labelled, correct, correct),
        returns=ArmBlocks(
            labelled,
            _by_block([each.return_sum for each in parts], place),
            _by_block([each.return_square_sum for each in parts], place),
        ),
        latency=ArmBlocks(
            _by_block([each.answered for each in parts], place),
            _by_block([each.latency_sum for each in parts], place),
            _by_block([each.latency_square_sum for each in parts], place),
        ),
        errors=ArmBlocks(_by_block([each.predictions for each in parts], place), errors, errors),
    )


def _pairs(parts: Sequence[PairSummary], place: NDArray[np.int64], total: PairSummary) -> PairTable:
    labelled = _by_block([each.labelled for each in parts], place)
    gained = _by_block([each.only_treatment_correct for each in parts], place)
    lost = _by_block([each.only_control_correct for each in parts], place)
    earned = [each.treatment_return_sum - each.control_return_sum for each in parts]
    squares = [
        each.treatment_return_square_sum
        + each.control_return_square_sum
        - 2 * each.return_product_sum
        for each in parts
    ]
    return PairTable(
        total=total,
        accuracy=ArmBlocks(labelled, gained - lost, gained + lost),
        returns=ArmBlocks(labelled, _by_block(earned, place), _by_block(squares, place)),
        latency=ArmBlocks(
            _by_block([each.pairs for each in parts], place),
            _by_block([each.latency_difference_sum for each in parts], place),
            _by_block([each.latency_difference_square_sum for each in parts], place),
        ),
    )
