"""The errors of datasets, as one tree.

    DatasetError
    ├── InvalidDefinitionError    a dataset cannot be defined like this
    ├── EmptyDatasetError         no bar has a complete window and an outcome
    ├── UnreadableDatasetError    the file or its manifest is missing or damaged
    ├── OtherFeatureSetError      a version names another feature set than its dataset
    └── InvalidFoldsError         the samples cannot be split like this

Errors carry data, are rebuilt from `args` after pickling, and are independent of HTTP.
"""

from features.errors import FeaturesError


class DatasetError(FeaturesError):
    """Base class of the errors of datasets."""


class InvalidDefinitionError(DatasetError):
    """A dataset cannot be defined like this."""

    def __init__(self, field: str, expected: str, received: str) -> None:
        super().__init__(field, expected, received)
        self.field, self.expected, self.received = field, expected, received

    def __str__(self) -> str:
        return (
            f"cannot define a dataset: expected {self.expected} as {self.field}, received "
            f"{self.received}; correct {self.field}"
        )


class EmptyDatasetError(DatasetError):
    """No bar has a complete window and an outcome."""

    def __init__(self, found: str, needed_bars: int) -> None:
        super().__init__(found, needed_bars)
        self.found, self.needed_bars = found, needed_bars

    def __str__(self) -> str:
        return (
            f"the dataset would be empty: {self.found}; a sample needs {self.needed_bars} bars "
            f"that were known by the time of the view, so import more bars, or choose a later view "
            f"or another range"
        )


class UnreadableDatasetError(DatasetError):
    """The file of a dataset or its manifest is missing or damaged."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"cannot read the dataset {self.path}: {self.problem}; build it again with modelctl "
            f"dataset build, which writes the same bytes from the same bars"
        )


class OtherFeatureSetError(DatasetError):
    """A version names another feature set than the dataset that trained it."""

    def __init__(self, path: str, expected: str, received: str) -> None:
        super().__init__(path, expected, received)
        self.path, self.expected, self.received = path, expected, received

    def __str__(self) -> str:
        return (
            f"a version that was trained on {self.path} has the feature set {self.expected}, "
            f"received {self.received}; name the feature set with --feature-set, and install the "
            f"distribution with which the dataset was built"
        )


class InvalidFoldsError(DatasetError):
    """The samples cannot be split like this."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem, self.remedy = problem, remedy

    def __str__(self) -> str:
        return f"cannot split the samples: {self.problem}; {self.remedy}"
