"""Which variant answers: a pure function of the experiment's salt and the unit.

Every router computes the same, now and after a restart, with nothing stored or shared.
"""

import math
from datetime import datetime
from hashlib import blake2b

from serve_app.experiments.definition import Assignment, ExperimentDefinition
from serve_app.experiments.records import Variant

_DIGEST_BYTES = 8
_UNIFORM_BITS = 53
"""As many as a float holds exactly."""


def uniform(salt: str, unit: str) -> float:
    """Return a number in [0, 1), uniform over units and independent between salts."""
    # The salt's length keeps ("ab", "c") and ("a", "bc") apart.
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
    """Return what is assigned as a whole, for a request.

    A request without `unit_id` in an experiment by unit_id is a unit of its own.
    """
    match definition.assignment:
        case Assignment.REQUEST:
            return f"request:{prediction_id}"
        case Assignment.UNIT_ID:
            return f"request:{prediction_id}" if unit_id is None else f"unit:{unit_id}"
        case Assignment.SYMBOL:
            return f"symbol:{symbol}"
        case Assignment.SWITCHBACK:
            assert definition.switchback_block_s is not None  # the definition checked it
            block = math.floor(time.timestamp() / definition.switchback_block_s)
            return f"block:{block}:{symbol}"


def assign(definition: ExperimentDefinition, unit: str, treatment_share: float) -> Variant:
    """Return the variant of a unit.

    As the share grows units only ever move to treatment: whoever is in it at 5 % is at 10 %.

    Args:
        definition: for the salt.
        unit: see `unit_of`.
        treatment_share: treatment's share of the units at present.
    """
    treated = uniform(definition.hashed_salt, unit) < treatment_share
    return Variant.TREATMENT if treated else Variant.CONTROL
