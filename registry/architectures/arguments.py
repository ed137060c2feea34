"""Checks of constructor arguments that the networks share."""


def check_positive_integers(**arguments: object) -> None:
    """Raise ValueError for an argument that is not an integer of at least 1."""
    for name, value in arguments.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a positive integer, received {value!r}")


def check_dropout(dropout: object) -> None:
    """Raise ValueError unless the fraction of units to drop is in [0, 1)."""
    if not _is_number(dropout) or not 0 <= dropout < 1:  # type: ignore[operator]
        raise ValueError(f"dropout must be in [0, 1), received {dropout!r}")


def check_return_scale(return_scale: object) -> None:
    """Raise ValueError unless the scale is a positive, finite number."""
    if not _is_number(return_scale) or not 0 < return_scale < float("inf"):  # type: ignore[operator]
        raise ValueError(f"return_scale must be a positive number, received {return_scale!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
