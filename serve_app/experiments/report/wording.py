"""Formats numbers, times and facts as plain text; the page escapes the text."""

from datetime import UTC, datetime

from serve_app.experiments.definition import Assignment, ExperimentDefinition, Mode

NOTHING = "\N{EN DASH}"
"""The text of a figure that does not have a value yet."""


def count(value: int) -> str:
    """Return a count with separators."""
    return f"{value:,}"


def tenths(value: float) -> str:
    """Return a number to one decimal."""
    return f"{value:,.1f}"


def percent(value: float | None, digits: int = 2) -> str:
    """Return a fraction in per cent."""
    return NOTHING if value is None else _typeset(f"{value:.{digits}%}")


def signed_percent(value: float | None, digits: int = 2) -> str:
    """Return a difference of fractions in percentage points, with its sign."""
    return NOTHING if value is None else _typeset(f"{value:+.{digits}%}")


def small_percent(value: float | None) -> str:
    """Return a return per prediction, which is small, in per cent."""
    return percent(value, 4)


def signed_small_percent(value: float | None) -> str:
    """Return a difference of returns per prediction in percentage points, with its sign."""
    return signed_percent(value, 4)


def number(value: float | None) -> str:
    """Return a number to two decimals."""
    return NOTHING if value is None else _typeset(f"{value:,.2f}")


def signed_number(value: float | None) -> str:
    """Return a difference to two decimals, with its sign."""
    return NOTHING if value is None else _typeset(f"{value:+,.2f}")


def small_number(value: float | None) -> str:
    """Return a number to four decimals."""
    return NOTHING if value is None else _typeset(f"{value:,.4f}")


def signed_small_number(value: float | None) -> str:
    """Return a difference to four decimals, with its sign."""
    return NOTHING if value is None else _typeset(f"{value:+,.4f}")


def milliseconds(value: float | None) -> str:
    """Return a time in ms."""
    return NOTHING if value is None else f"{number(value)} ms"


def signed_milliseconds(value: float | None) -> str:
    """Return a difference in ms, with its sign."""
    return NOTHING if value is None else f"{signed_number(value)} ms"


def p_value(value: float | None) -> str:
    """Return a p-value to two digits."""
    return NOTHING if value is None else f"{value:.2g}"


def interval(bounds: list[float] | tuple[float, float] | None, digits: int = 2) -> str:
    """Return an interval of differences of fractions."""
    if bounds is None:
        return "not yet known"
    low, high = (signed_percent(bound, digits) for bound in bounds)
    return f"{low} to {high}"


def moment(time: datetime) -> str:
    """Return a time in UTC."""
    time = time.astimezone(UTC)
    return f"{time.day} {time:%b %Y, %H:%M} UTC"


def duration(seconds: float) -> str:
    """Return a duration in its two largest units."""
    left = max(0, round(seconds))
    parts = []
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= unit:
            parts.append(f"{left // unit} {name}")
            left %= unit
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def how_split(definition: ExperimentDefinition) -> str:
    """Return a description of how requests were assigned to the versions."""
    if definition.mode is Mode.MIRROR:
        return (
            "Every request was sent to both versions, and the bots received control's response. "
            "Both versions saw the same requests, and no bot depended on treatment."
        )
    shares = (
        f"{percent(definition.control_traffic, 0)} for control and "
        f"{percent(definition.treatment_traffic, 0)} for treatment"
    )
    block = duration(definition.switchback_block_s or 0.0)
    text = {
        Assignment.REQUEST: f"Each request was assigned at random: {shares}.",
        Assignment.UNIT_ID: f"Each bot was assigned to one version at random: {shares}.",
        Assignment.SYMBOL: f"Each symbol was assigned to one version at random: {shares}.",
        Assignment.SWITCHBACK: f"Each symbol was assigned at random every {block}: {shares}.",
    }[definition.assignment]
    if definition.exposure_steps:
        steps = ", ".join(percent(share, 0) for share in definition.exposure_steps)
        text += (
            f" Treatment's share grew in steps ({steps}) of at least "
            f"{duration(definition.exposure_step_hours * 3600)} while the safety checks passed."
        )
    return text


def _typeset(text: str) -> str:
    """Return the number with a true minus sign, and without a sign if it shows as 0."""
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")
