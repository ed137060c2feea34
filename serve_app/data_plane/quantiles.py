"""Decodes the quantiles of the return, in one output or in several. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from registry.outputs import MEDIAN, QUANTILES, level_name, quantile_level
from registry.predictors import Outputs
from serve_app.data_plane.decoding import Failure, Prediction


def decode_quantiles(
    outputs: Outputs,
    decode: Callable[[Outputs], list[Prediction | Failure]],
    levels: Sequence[float],
) -> list[Prediction | Failure]:
    """Turn a batch of outputs with quantiles into one result per row.

    The median is the expected return. Quantiles that cross are returned as the model computed them:
    sorting them would alter the median, and rejecting them would stop a bot for a property that
    most quantile models have on some rows.

    Args:
        outputs: `return_quantiles`, or `expected_return` and one `return_quantile_LEVEL` per
            further level; and the outputs that `decode` requires.
        decode: decodes the other outputs and the expected return.
        levels: the levels in ascending order.

    Returns:
        A prediction per row, or a failure if an output is not finite.
    """
    quantiles = outputs[QUANTILES] if QUANTILES in outputs else _joined(outputs)
    median = list(levels).index(MEDIAN)
    results = decode({**outputs, "expected_return": quantiles[:, median : median + 1]})
    names = [level_name(level) for level in levels]
    return [
        replace(result, return_quantiles=dict(zip(names, row, strict=True)))
        if isinstance(result, Prediction)
        else result
        for result, row in zip(results, quantiles.tolist(), strict=True)
    ]


def _joined(outputs: Outputs) -> NDArray[np.floating]:
    """Return separate quantiles as (batch, levels), in ascending order of their levels."""
    columns = {
        level: values for meaning, values in outputs.items() if (level := quantile_level(meaning))
    }
    columns[MEDIAN] = outputs["expected_return"]
    return np.concatenate([columns[level] for level in sorted(columns)], axis=1)
