"""Decodes the outputs of regressors, and selects the decoder of a model. Pure."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from registry.predictors import Outputs, Row, find_problem, rows_of
from registry.records import DIRECTIONS, ModelMetadata
from serve_app.data_plane.decoding import Failure, Prediction, decode
from serve_app.data_plane.quantiles import decode_quantiles

Decoder: TypeAlias = Callable[[Outputs], list[Prediction | Failure]]
"""Turns a batch of outputs into one result per row."""


def decoder_of(metadata: ModelMetadata) -> Decoder:
    """Return the decoder for the outputs of a version."""
    decoder: Decoder
    if metadata.is_regressor:
        decoder = partial(decode_returns, dead_band=metadata.dead_band)
    else:
        decoder = partial(decode, label_map=metadata.label_map)
    levels = metadata.quantile_levels
    return partial(decode_quantiles, decode=decoder, levels=levels) if levels else decoder


def decode_returns(outputs: Outputs, dead_band: float) -> list[Prediction | Failure]:
    """Turn a batch of expected returns into one result per row.

    The direction is HOLD if the return is at most `dead_band` away from 0, otherwise that of its
    sign. A regressor has no probabilities. Without a confidence output, the confidence is the
    share of the larger one in |return| + dead_band: 0.5 at the edge of the dead band, and closer to
    1 the farther the return is from it, inside or outside. It orders predictions of one model; it
    is no probability.

    Args:
        outputs: `expected_return`, and optionally `confidence`.
        dead_band: a return above 0.

    Returns:
        A prediction per row, or a failure if an output is not finite.
    """
    return [_decode_row(row, dead_band) for row in rows_of(outputs)]


def _decode_row(row: Row, dead_band: float) -> Prediction | Failure:
    problem = find_problem(row)
    if problem is not None:
        return Failure(problem)
    expected = row["expected_return"][0]
    size = abs(expected)
    direction = "HOLD" if size <= dead_band else "BUY" if expected > 0 else "SELL"
    if "confidence" in row:
        confidence = min(max(row["confidence"][0], 0.0), 1.0)
    else:
        # Written so that a sum beyond the largest float cannot occur.
        confidence = 1 / (1 + min(size, dead_band) / max(size, dead_band))
    return Prediction(DIRECTIONS[direction], confidence, expected)
