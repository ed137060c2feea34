"""The roles of callers: a token has one or more, and each operation requires one of some."""

from enum import StrEnum


class Role(StrEnum):
    """The operations that a caller may perform."""

    PREDICT = "predict"
    """Predictions and their outcomes, the list of models, and bars to read: what a bot needs."""

    INGEST = "ingest"
    """Bars, to write and to read: what a feed needs."""

    OBSERVE = "observe"
    """Everything that is read-only."""

    OPERATE = "operate"
    """Changes: reloads and experiments; includes what they need to be observed."""


EVERY_ROLE = frozenset(Role)
