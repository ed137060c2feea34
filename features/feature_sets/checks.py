"""Checks on real bars that a feature set is a pure function of its lookback.

A model is trained on rows of a long history and served on rows of the last bars. Both are equal
only if the feature set keeps the rules below. They are tested at random cut points: the rows that
are known at the end of that bar are compared with those of the history.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from features.bars import BarPanel, Bars, Ints
from features.errors import InvalidRowsError
from features.feature_sets.check_bars import change_bars, require_bars
from features.feature_sets.differences import Difference, find_difference
from features.feature_sets.feature_set import FeatureSet, PanelFeatureSet
from features.feature_sets.rows import Rows, compute_last_rows, compute_rows

_WINDOW_ROWS = 64
"""The rows of the longest window that is computed at a cut point."""


class Rule(StrEnum):
    """A rule that every feature set keeps."""

    NAMES = "the names of features are unique"
    ROWS = "compute returns finite float32, one row per bar with a complete lookback"
    REPEATABLE = "the same bars give the same rows at every call"
    LOOKBACK = "rows from the whole history equal rows from the last `lookback` bars"
    LATER_BARS = "a change of later bars changes no row"
    EARLIER_BARS = "a change of bars before the lookback changes no row"
    PANEL = "compute_last returns for each series of a panel what compute returns for its last bar"


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a feature set breaks, with the first counterexample."""

    rule: Rule
    """The rule."""
    problem: str
    """The counterexample as a text."""
    difference: Difference | None = None
    """The value that differs; None if the rule compares no values."""

    def __str__(self) -> str:
        return f"expected that {self.rule}; {self.problem}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The result of a check."""

    name: str
    """The name of the feature set."""
    version: str
    """Its version."""
    lookback: int
    """Its lookback."""
    bars: int
    """The number of bars on which it was checked."""
    cut_points: int
    """The number of bars at which rows were compared."""
    seed: int
    """The seed of the cut points and of the changes."""
    violation: Violation | None
    """The first rule that it breaks; None if it keeps all of them."""

    @property
    def is_passed(self) -> bool:
        """Whether the feature set keeps all rules."""
        return self.violation is None


def check_feature_set(
    feature_set: FeatureSet, bars: Bars, *, cut_points: int = 50, seed: int = 0
) -> CheckReport:
    """Check a feature set on real bars.

    The first bar with a complete lookback and the last bar are always cut points. Changed bars are
    valid bars: their prices are multiplied by random factors, and their times move on the grid. The
    changes at a cut point are applied to an excerpt of three lookbacks around it.

    Args:
        feature_set: the feature set.
        bars: real bars of its timeframe in ascending order, at least two lookbacks.
        cut_points: the number of bars at which rows are compared.
        seed: determines the cut points and the changes.

    Raises:
        UnusableBarsError: there are too few bars, or they are not ascending on the grid.
    """
    require_bars(feature_set, bars, 2 * feature_set.lookback)
    random = np.random.default_rng(seed)
    chosen = random.integers(feature_set.lookback - 1, len(bars), max(0, cut_points - 2))
    cuts = sorted({feature_set.lookback - 1, len(bars) - 1, *chosen.tolist()})
    return CheckReport(
        name=feature_set.name,
        version=feature_set.version,
        lookback=feature_set.lookback,
        bars=len(bars),
        cut_points=len(cuts),
        seed=seed,
        violation=_find_violation(feature_set, bars, cuts, random),
    )


def _find_violation(
    feature_set: FeatureSet, bars: Bars, cuts: list[int], random: np.random.Generator
) -> Violation | None:
    try:
        return next(_violations(feature_set, bars, cuts, random), None)
    except InvalidRowsError as error:
        return Violation(Rule.ROWS, error.problem)


def _violations(
    feature_set: FeatureSet, bars: Bars, cuts: list[int], random: np.random.Generator
) -> Iterator[Violation]:
    repeated = [name for name, count in Counter(feature_set.feature_names).items() if count > 1]
    if repeated:
        yield Violation(Rule.NAMES, f"{repeated[0]!r} occurs more than once")
    lookback = feature_set.lookback
    time = bars.time[lookback - 1 :]

    def compare(rule: Rule, expected: Rows, received: Rows, at: Ints) -> Iterator[Violation]:
        found = find_difference(expected, received, at, feature_set.feature_names)
        if found is not None:
            yield Violation(rule, str(found), found)

    whole = compute_rows(feature_set, bars)
    yield from compare(Rule.REPEATABLE, whole, compute_rows(feature_set, bars), time)
    if isinstance(feature_set, PanelFeatureSet):
        for chosen in _panels(cuts, random):
            ends = np.array(chosen) - lookback + 1
            panel = BarPanel.of([bars.take(slice(end, end + lookback)) for end in ends.tolist()])
            received = compute_last_rows(feature_set, panel)
            yield from compare(Rule.PANEL, whole[ends], received, time[ends])
    for cut in cuts:
        row = cut - lookback + 1
        for rows in (1, min(row + 1, int(random.integers(2, _WINDOW_ROWS + 1)))):
            part = slice(row - rows + 1, row + 1)
            received = compute_rows(feature_set, bars.take(slice(part.start, cut + 1)))
            yield from compare(Rule.LOOKBACK, whole[part], received, time[part])
    for cut in cuts:
        start = max(0, cut - 2 * lookback + 1)
        excerpt = bars.take(slice(start, cut + lookback + 1))
        at, row = excerpt.time[lookback - 1 :], cut - start - lookback + 1
        before = compute_rows(feature_set, excerpt)
        for rule, changed, kept in (
            (Rule.LATER_BARS, slice(cut - start + 1, None), slice(row + 1)),
            (Rule.EARLIER_BARS, slice(row), slice(row, None)),
        ):
            altered = change_bars(excerpt, changed, feature_set.timeframe, random)
            after = compute_rows(feature_set, altered)
            yield from compare(rule, before[kept], after[kept], at[kept])
    yield from compare(Rule.REPEATABLE, whole, compute_rows(feature_set, bars), time)


def _panels(cuts: list[int], random: np.random.Generator) -> Iterator[list[int]]:
    """Yield panels of all cut points, of each one alone, and of some in random order."""
    yield cuts
    for cut in cuts:
        yield [cut]
        yield random.permutation(cuts)[: random.integers(2, len(cuts) + 1)].tolist()
