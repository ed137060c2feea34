"""The assignment of a request to a variant: a pure function of the salt and the unit.

Every router computes the same variant, before and after a restart, without stored or shared state.
"""

import math
from datetime import datetime
from hashlib import blake2b

from serve_app.experiments.definition import Assignment, ExperimentDefinition
from serve_app.experiments.records import Variant

_DIGEST_BYTES = 8
_UNIFORM_BITS = 53
"""Number of bits that a float holds exactly."""


def uniform(salt: str, unit: str) -> float:
    """Return a number in [0, 1) that is uniform over units and independent between salts."""
    # The salt's length distinguishes ("ab", "c") from ("a", "bc").
    salted = f"{len(salt)}:{salt}{unit}".encode()
    digest = blake2b(salted, digest_size=_DIGEST_BYTES).digest()
    bits = int.from_bytes(digest, "big") >> (8 * _DIGEST_BYTES - _UNIFORM_BITS)
    return float(bits / (1 << _UNIFORM_BITS))


def unit_of(
    definition: ExperimentDefinition,
    *,
    prediction_id: str,
    unit_id: str | None,
    symbol: str,
    time: datetime,
) -> str:
    """Return the unit of a request: everything with the same unit gets the same variant.

    In an experiment by `unit_id`, each request without one is a separate unit.
    """
    match definition.assignment:
        case Assignment.REQUEST:
            return f"request:{prediction_id}"
        case Assignment.UNIT_ID:
            return f"request:{prediction_id}" if unit_id is None else f"unit:{unit_id}"
        case Assignment.SYMBOL:
            return f"symbol:{symbol}"
        case Assignment.SWITCHBACK:
            assert definition.switchback_block_s is not None  # validated by the definition
            block = math.floor(time.timestamp() / definition.switchback_block_s)
            return f"block:{block}:{symbol}"


def assign(definition: ExperimentDefinition, unit: str, treatment_share: float) -> Variant:
    """Return the variant of a unit.

    While the share grows, units only move to treatment: a unit in treatment at 5 % stays in it at
    10 %.

    Args:
        definition: the experiment, for its salt.
        unit: see `unit_of`.
        treatment_share: treatment's current share of the units.

    >>> definition = ExperimentDefinition(
    ...     experiment_id="v1_vs_v2",
    ...     control_model_name="net",
    ...     control_model_version="1.0.0",
    ...     treatment_model_name="net",
    ...     treatment_model_version="1.1.0",
    ... )
    >>> [assign(definition, "unit:bot-7", share).value for share in (0.1, 0.9)]
    ['control', 'treatment']
    """
    treated = uniform(definition.hashed_salt, unit) < treatment_share
    return Variant.TREATMENT if treated else Variant.CONTROL
