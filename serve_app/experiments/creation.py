"""What is refused of a new experiment; one that is stored already goes on as it was agreed."""

from serve_app.errors import InvalidRequestError
from serve_app.experiments.definition import UNIT_ASSIGNMENTS, ExperimentDefinition

LONGEST_HOURS = 10 * 366 * 24
"""Ten years; whatever is beyond is a slip."""


def check_new(definition: ExperimentDefinition) -> None:
    """Refuse what cannot end in a verdict to act on.

    Raises:
        InvalidRequestError: of the field that is at fault.
    """
    if definition.duration_hours > LONGEST_HOURS:
        expected = f"at most {LONGEST_HOURS:,} hours, ten years"
        raise InvalidRequestError("duration_hours", expected, f"{definition.duration_hours:g}")
    horizon_s = definition.horizon_s
    if horizon_s is not None and horizon_s >= definition.duration_s:
        raise InvalidRequestError(
            "horizon_s",
            f"less than the experiment's duration, {definition.duration_s:g} s",
            f"{horizon_s:g}; raise duration_hours",
        )
    if not definition.auto_apply:
        return
    if horizon_s is None:
        raise InvalidRequestError(
            "horizon_s",
            "how long a position is held, in seconds, since auto_apply acts on an interval whose "
            "width depends on it",
            "none",
        )
    if definition.assignment in UNIT_ASSIGNMENTS:
        raise InvalidRequestError(
            "auto_apply",
            "false with assignment unit_id or symbol, whose arms serve different bots or symbols: "
            "a difference between these would be taken for one between the versions",
            f"true with assignment {definition.assignment}",
        )
