"""The errors of market data, as one tree.

    FeaturesError
    ├── InvalidSymbolError          the text cannot name a symbol
    ├── UnknownTimeframeError       the text names no timeframe
    ├── InvalidTimeError            the value is no time, or has no time zone
    ├── InvalidCalendarError        the texts are no calendar of a market
    ├── InvalidColumnsError         the columns of bars do not fit together
    ├── UnknownSeriesError          the log has no bars of the symbol and timeframe
    ├── InvalidLabelRuleError       the rule of the labels is not valid
    ├── BarFileError                a file of bars cannot be read or written
    ├── MissingPackageError         the library that a feature needs is not installed
    ├── FeatureSetError
    │   ├── UnknownFeatureSetError    no installed distribution declares the feature set
    │   ├── AmbiguousFeatureSetError  several declare it
    │   ├── BrokenFeatureSetError     it cannot be imported, or is no feature set
    │   ├── UnreadableSourceError     its source cannot be read
    │   ├── InvalidRowsError          it failed, or returned invalid rows
    │   ├── FailedCheckError          it breaks a rule that every feature set keeps
    │   ├── UnusableBarsError         it cannot be checked on these bars
    │   ├── NoBarsError               there are no bars on which it can be checked
    │   └── NoLookbackError           its rows depend on where the bars start
    └── BarLogError
        ├── BarLogUrlError          the URL does not name a usable database
        ├── NewerBarLogError        the log was written by newer software
        ├── ForeignBarLogError      folder and database do not belong together
        ├── UsedBarLogError         a place to be filled holds something already
        ├── LockedBarLogError       another process has the log open
        ├── UnavailableBarLogError  nothing was acknowledged; the same call may succeed later
        └── DamagedBarLogError      the database or a part of the history is damaged

Errors carry data, are rebuilt from `args` after pickling, and are independent of HTTP.
"""

from collections.abc import Sequence


class FeaturesError(Exception):
    """Base class of all errors of market data."""


class InvalidSymbolError(FeaturesError):
    """The text cannot name a symbol."""

    def __init__(self, received: str) -> None:
        super().__init__(received)
        self.received = received

    def __str__(self) -> str:
        return (
            f"expected a symbol of 1 to 64 characters, such as 'EURUSD', 'BTC/USDT' or '^GSPC', "
            f"received {self.received[:80]!r}; use letters, digits and . _ - = : & + ^, and / "
            f"between two of these"
        )


class UnknownTimeframeError(FeaturesError):
    """The text names no timeframe."""

    def __init__(self, received: str, known: Sequence[str]) -> None:
        super().__init__(received, tuple(known))
        self.received, self.known = received, tuple(known)

    def __str__(self) -> str:
        return f"unknown timeframe {self.received[:80]!r}; use one of {', '.join(self.known)}"


class InvalidTimeError(FeaturesError):
    """The value is no time, or has no time zone."""

    def __init__(self, received: str, problem: str) -> None:
        super().__init__(received, problem)
        self.received, self.problem = received, problem

    def __str__(self) -> str:
        return (
            f"expected a time, received {self.received[:80]!r}, {self.problem}; use ISO 8601 with "
            f"a zone, such as 2026-01-05T09:00:00Z, or milliseconds since 1970"
        )


class InvalidCalendarError(FeaturesError):
    """The texts are no calendar of a market."""

    def __init__(self, field: str, expected: str, received: str) -> None:
        super().__init__(field, expected, received)
        self.field, self.expected, self.received = field, expected, received

    def __str__(self) -> str:
        return (
            f"expected {self.expected} as {self.field} of a calendar, received "
            f"{self.received[:80]!r}; correct the calendar"
        )


class InvalidColumnsError(FeaturesError):
    """The columns of bars do not fit together."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"the columns are not bars: {self.problem}; pass time, open, high, low, close and "
            f"volume as one-dimensional numbers of one length"
        )


class UnknownSeriesError(FeaturesError):
    """The log has no bars of the symbol and timeframe."""

    def __init__(self, symbol: str, timeframe: str, known: Sequence[str]) -> None:
        super().__init__(symbol, timeframe, tuple(known))
        self.symbol, self.timeframe, self.known = symbol, timeframe, tuple(known)

    def __str__(self) -> str:
        known = ", ".join(self.known[:20]) or "none"
        return (
            f"the log has no bars of {self.symbol[:80]!r} with the timeframe {self.timeframe}; "
            f"import some, or use one of these: {known}"
        )


class InvalidLabelRuleError(FeaturesError):
    """The rule of the labels is not valid."""

    def __init__(self, field: str, expected: str, received: str) -> None:
        super().__init__(field, expected, received)
        self.field, self.expected, self.received = field, expected, received

    def __str__(self) -> str:
        return (
            f"cannot label returns: expected {self.expected} as {self.field}, received "
            f"{self.received}; correct {self.field}"
        )


class BarFileError(FeaturesError):
    """A file of bars cannot be read or written."""

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        super().__init__(path, problem, remedy)
        self.path, self.problem, self.remedy = path, problem, remedy

    def __str__(self) -> str:
        return f"cannot use {self.path}: {self.problem}; {self.remedy}"


class MissingPackageError(FeaturesError):
    """The library that a feature needs is not installed."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(feature, package, extra)
        self.feature, self.package, self.extra = feature, package, extra

    def __str__(self) -> str:
        return (
            f"{self.feature} needs {self.package}, which is not installed; "
            f"install tradeserve[{self.extra}]"
        )


class FeatureSetError(FeaturesError):
    """Base class of the errors of feature sets."""


class UnknownFeatureSetError(FeatureSetError):
    """No installed distribution declares the feature set."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known))
        self.name, self.known = name, tuple(known)

    def __str__(self) -> str:
        return (
            f"unknown feature set {self.name[:80]!r}, known: {', '.join(self.known) or 'none'}; "
            f"install the distribution that declares it by an entry point in the group "
            f"tradeserve.feature_sets"
        )


class AmbiguousFeatureSetError(FeatureSetError):
    """Several installed distributions declare the feature set."""

    def __init__(self, name: str, origins: Sequence[str]) -> None:
        super().__init__(name, tuple(origins))
        self.name, self.origins = name, tuple(origins)

    def __str__(self) -> str:
        return (
            f"the feature set {self.name!r} is declared {len(self.origins)} times: "
            f"{', '.join(self.origins)}; uninstall all of these distributions but one"
        )


class BrokenFeatureSetError(FeatureSetError):
    """The entry point cannot be imported, or names no feature set."""

    def __init__(self, name: str, origin: str, problem: str) -> None:
        super().__init__(name, origin, problem)
        self.name, self.origin, self.problem = name, origin, problem

    def __str__(self) -> str:
        return (
            f"cannot use the feature set {self.name!r}, {self.origin}: {self.problem}; repair or "
            f"reinstall this distribution"
        )


class UnreadableSourceError(FeatureSetError):
    """The source of a feature set cannot be read."""

    def __init__(self, module: str, problem: str) -> None:
        super().__init__(module, problem)
        self.module, self.problem = module, problem

    def __str__(self) -> str:
        return (
            f"cannot read the source of the module {self.module}: {self.problem}; install its "
            f"distribution with its source files"
        )


class InvalidRowsError(FeatureSetError):
    """The feature set failed, or returned invalid rows."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem

    def __str__(self) -> str:
        return (
            f"the feature set {self.name!r} computed no valid rows: {self.problem}; correct its "
            f"compute, which returns finite float32 of the shape (bars - lookback + 1, features)"
        )


class FailedCheckError(FeatureSetError):
    """The feature set breaks a rule that every feature set keeps."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem

    def __str__(self) -> str:
        return (
            f"the feature set {self.name!r} failed its check: {self.problem}; correct its compute "
            f"or its lookback, and repeat the check with modelctl features check {self.name}"
        )


class UnusableBarsError(FeatureSetError):
    """The feature set cannot be checked on these bars."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem

    def __str__(self) -> str:
        return (
            f"cannot check the feature set {self.name!r} on these bars: {self.problem}; pass more "
            f"real bars of its timeframe, sorted by time"
        )


class NoBarsError(FeatureSetError):
    """There are no bars on which a feature set can be checked."""

    def __init__(self, timeframe: str, problem: str) -> None:
        super().__init__(timeframe, problem)
        self.timeframe, self.problem = timeframe, problem

    def __str__(self) -> str:
        return (
            f"expected real bars of the timeframe {self.timeframe} to check the feature set, "
            f"received none: {self.problem}; pass a CSV or Parquet file with --bars, or the folder "
            f"of a bar log with --bar-log"
        )


class NoLookbackError(FeatureSetError):
    """The rows of a feature set depend on where the bars start."""

    def __init__(self, name: str, limit: int, problem: str) -> None:
        super().__init__(name, limit, problem)
        self.name, self.limit, self.problem = name, limit, problem

    def __str__(self) -> str:
        return (
            f"the rows of the feature set {self.name!r} depend on where the bars start even with "
            f"{self.limit} bars: {self.problem}; replace this feature by one with a finite "
            f"lookback, or raise the limit"
        )


class BarLogError(FeaturesError):
    """Base class of the errors of the log's storage."""


class BarLogUrlError(BarLogError):
    """The URL does not name a database that the log can use."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(url, problem)
        self.url, self.problem = url, problem

    def __str__(self) -> str:
        return (
            f"cannot store bars at {self.url!r}: {self.problem}; use sqlite:///path/to/file.db or "
            f"postgresql://user:password@host/database"
        )


class NewerBarLogError(BarLogError):
    """The log was written by a newer version of this software."""

    def __init__(self, url: str, received: int, known: int) -> None:
        super().__init__(url, received, known)
        self.url, self.received, self.known = url, received, known

    def __str__(self) -> str:
        return (
            f"the database {self.url} has revision {self.received} of the bar log, but this "
            f"software knows up to {self.known}; upgrade the software, or use another database"
        )


class ForeignBarLogError(BarLogError):
    """The folder and the database do not belong to one log."""

    def __init__(self, folder: str, url: str) -> None:
        super().__init__(folder, url)
        self.folder, self.url = folder, url

    def __str__(self) -> str:
        return (
            f"the folder {self.folder} and the database {self.url} do not belong to one bar log; "
            f"pass both of one log, or a new folder with a new database"
        )


class UsedBarLogError(BarLogError):
    """The place to which a log is to be copied holds something already."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    def __str__(self) -> str:
        return (
            f"cannot copy a bar log to {self.where}: expected an empty folder and a database "
            f"without a bar log, received others; choose other ones, or move them away"
        )


class LockedBarLogError(BarLogError):
    """Another process has the log open for writing."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return (
            f"another process writes the bar log in {self.folder}; send the bars to the server, or "
            f"stop it first"
        )


class UnavailableBarLogError(BarLogError):
    """The storage is not available; nothing was acknowledged, and a retry is safe."""

    def __init__(
        self,
        where: str,
        problem: str,
        remedy: str = "check the disk and the database, and try again",
    ) -> None:
        super().__init__(where, problem, remedy)
        self.where, self.problem, self.remedy = where, problem, remedy

    def __str__(self) -> str:
        return (
            f"the bar log cannot use {self.where}: {self.problem}; nothing was acknowledged, "
            f"{self.remedy}"
        )


class DamagedBarLogError(BarLogError):
    """The database or a part of the history is damaged or missing."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return (
            f"the bar log cannot read {self.where}: {self.problem}; restore folder and database "
            f"from one backup"
        )
