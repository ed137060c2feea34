"""The definition of a dataset. Performs no IO."""

from dataclasses import dataclass

from features.bars import EARLIEST_MS, LATEST_MS, Symbol
from features.datasets.errors import InvalidDefinitionError
from features.feature_sets import FeatureSet
from features.labels import LabelRule
from features.times import iso

DEFAULT_TIMESTEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDefinition:
    """What a dataset contains; the bars of a log and a definition determine its bytes.

    Raises:
        InvalidDefinitionError: it has no symbol or one twice, no timesteps, or an empty range.
    """

    symbols: tuple[Symbol, ...]
    """The symbols, whose samples follow each other in this order."""
    rule: LabelRule
    """The rule of the labels."""
    as_of_ms: int
    """The time of the view: what became known later is not used."""
    first_ms: int = EARLIEST_MS
    """The first bar of a sample; the bars before it that its window needs are used as well."""
    last_ms: int = LATEST_MS
    """The last bar of a sample; the bars after it up to the horizon are used as well."""
    timesteps: int = DEFAULT_TIMESTEPS
    """The number of rows of a window."""

    def __post_init__(self) -> None:
        if not self.symbols or len(set(self.symbols)) < len(self.symbols):
            raise InvalidDefinitionError(
                "symbols", "at least one symbol, each once", ", ".join(self.symbols) or "none"
            )
        if self.timesteps < 1:
            raise InvalidDefinitionError("timesteps", "at least 1", str(self.timesteps))
        if self.first_ms > self.last_ms:
            received = f"{iso(self.first_ms)} to {iso(self.last_ms)}"
            raise InvalidDefinitionError("range", "a first bar up to the last one", received)

    def depth(self, feature_set: FeatureSet) -> int:
        """Return the number of bars on which a window depends."""
        return feature_set.lookback + self.timesteps - 1
