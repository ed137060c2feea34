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

from features.errors.bar_log import (
    BarLogError,
    BarLogUrlError,
    DamagedBarLogError,
    ForeignBarLogError,
    LockedBarLogError,
    NewerBarLogError,
    UnavailableBarLogError,
    UsedBarLogError,
)
from features.errors.base import (
    FeaturesError,
)
from features.errors.feature_sets import (
    AmbiguousFeatureSetError,
    BrokenFeatureSetError,
    FailedCheckError,
    FeatureSetError,
    InvalidRowsError,
    NoBarsError,
    NoLookbackError,
    UnknownFeatureSetError,
    UnreadableSourceError,
    UnusableBarsError,
)
from features.errors.market_data import (
    BarFileError,
    InvalidCalendarError,
    InvalidColumnsError,
    InvalidLabelRuleError,
    InvalidSymbolError,
    InvalidTimeError,
    MissingPackageError,
    UnknownSeriesError,
    UnknownTimeframeError,
)

__all__ = [
    "AmbiguousFeatureSetError",
    "BarFileError",
    "BarLogError",
    "BarLogUrlError",
    "BrokenFeatureSetError",
    "DamagedBarLogError",
    "FailedCheckError",
    "FeatureSetError",
    "FeaturesError",
    "ForeignBarLogError",
    "InvalidCalendarError",
    "InvalidColumnsError",
    "InvalidLabelRuleError",
    "InvalidRowsError",
    "InvalidSymbolError",
    "InvalidTimeError",
    "LockedBarLogError",
    "MissingPackageError",
    "NewerBarLogError",
    "NoBarsError",
    "NoLookbackError",
    "UnavailableBarLogError",
    "UnknownFeatureSetError",
    "UnknownSeriesError",
    "UnknownTimeframeError",
    "UnreadableSourceError",
    "UnusableBarsError",
    "UsedBarLogError",
]
