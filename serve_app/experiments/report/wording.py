"""Numbers, times and facts in plain words. All of it is text; the page escapes it."""

from datetime import UTC, datetime

from serve_app.experiments.definition import Assignment, ExperimentDefinition, Mode

NOTHING = "\N{EN DASH}"
"""Stands for a figure that has no value yet."""


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
    """Return a return by prediction, which has several zeros, in per cent."""
    return percent(value, 4)


def signed_small_percent(value: float | None) -> str:
    """Return a difference in return by prediction in percentage points, with its sign."""
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
        return "not known yet"
    low, high = (signed_percent(each, digits) for each in bounds)
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
    """Return in words who answered what."""
    if definition.mode is Mode.MIRROR:
        return (
            "Every request went to both versions, and the bots got control's answer. Both answered "
            "the same questions, and no bot depended on treatment."
        )
    shares = (
        f"{percent(definition.control_traffic, 0)} for control and "
        f"{percent(definition.treatment_traffic, 0)} for treatment"
    )
    block = duration(definition.switchback_block_s or 0.0)
    text = {
        Assignment.REQUEST: f"For each request a lot was drawn: {shares}.",
        Assignment.UNIT_ID: f"For each bot a lot was drawn once, and it stayed: {shares}.",
        Assignment.SYMBOL: f"For each symbol a lot was drawn once, and it stayed: {shares}.",
        Assignment.SWITCHBACK: f"For each symbol a new lot was drawn every {block}: {shares}.",
    }[definition.assignment]
    if definition.exposure_steps:
        steps = ", ".join(percent(each, 0) for each in definition.exposure_steps)
        text += (
            f" Treatment began small and grew in steps ({steps}), each at least "
            f"{duration(definition.exposure_step_hours * 3600)} long, while the safety checks held."
        )
    return text


def _typeset(text: str) -> str:
    """Return the number with a true minus, and without a sign when it shows as 0."""
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")
