"""Validation of a new experiment; a stored one continues under the rules of its creation."""

from collections.abc import Mapping

from registry.records import ModelMetadata
from serve_app.errors import InvalidRequestError
from serve_app.experiments.definition import ExperimentDefinition

LONGEST_HOURS = 10 * 366 * 24
"""Ten years; a longer duration is an input error."""


def check_new(definition: ExperimentDefinition) -> None:
    """Reject a definition that cannot lead to a verdict.

    Raises:
        InvalidRequestError: names the field at fault.
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
    if definition.auto_apply and horizon_s is None:
        raise InvalidRequestError(
            "horizon_s",
            "the time for which a position is held, in seconds, because auto_apply acts on an "
            "interval whose width depends on it",
            "none",
        )


def check_variants(
    definition: ExperimentDefinition, control: ModelMetadata, treatment: ModelMetadata
) -> None:
    """Reject variants that cannot serve the same requests, or whose verdict cannot be applied.

    Raises:
        InvalidRequestError: names the field at fault.
    """
    if control.input_shape != treatment.input_shape:
        raise InvalidRequestError(
            "treatment_model_version",
            f"a version with control's input shape, {control.input_shape}",
            f"{treatment.input_shape}",
        )
    if control.input_type != treatment.input_type:
        raise InvalidRequestError(
            "treatment_model_version",
            f"a version of control's input type, {control.input_type}, since each request is "
            f"served by either",
            treatment.input_type,
        )
    if control.accepts_missing != treatment.accepts_missing:
        raise InvalidRequestError(
            "treatment_model_version",
            f"a version whose missing_values is {control.accepts_missing}, as control's",
            str(treatment.accepts_missing),
        )
    names = {definition.control_model_name, definition.treatment_model_name}
    if definition.auto_apply and len(names) > 1:
        raise InvalidRequestError(
            "auto_apply",
            "two versions of one model, whose production version can be changed",
            f"{definition.control} and {definition.treatment}",
        )


def with_dead_band(
    definition: ExperimentDefinition, control: ModelMetadata, treatment: ModelMetadata
) -> ExperimentDefinition:
    """Return the definition with the models' declared dead band, unless it states one.

    Raises:
        InvalidRequestError: the models declare different or invalid dead bands.
    """
    if "dead_band" in definition.model_fields_set:
        return definition
    declared: dict[str, float] = {}
    for name, metadata in ((definition.control, control), (definition.treatment, treatment)):
        value = metadata.dataset_info.get("dead_band")
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            raise _unclear_dead_band("a number from 0 to 1", {name: value})
        declared[name] = float(value)
    if len(set(declared.values())) > 1:
        raise _unclear_dead_band("the same for both variants", declared)
    if definition.control not in declared:
        return definition
    values = {**definition.model_dump(), "dead_band": declared[definition.control]}
    return ExperimentDefinition.model_validate(values)


def _unclear_dead_band(expected: str, declared: Mapping[str, object]) -> InvalidRequestError:
    received = ", ".join(f"{name} declares {value!r}" for name, value in declared.items())
    return InvalidRequestError("dead_band", f"to be stated, or {expected}", received[:200])
