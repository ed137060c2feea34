"""The errors of a conversion, as one tree below `registry.errors.RegistryError`.

ConversionError
├── UnsupportedModelError   the model or its windows are none that can be converted
├── MissingConverterError   a library of the conversion is not installed
├── LostOptionError         the converter is known to lose an option of the model
├── ConverterFailedError    the converter raises an error
└── OutputsDifferError      the converted model returns other values than the original
"""

from registry.errors import RegistryError


class ConversionError(RegistryError):
    """Base class of the errors of a conversion; no file is written."""


class UnsupportedModelError(ConversionError):
    """The model, its classes or its windows are none that can be converted."""

    def __init__(self, what: str, expected: str, received: str) -> None:
        super().__init__(what, expected, received)
        self.what, self.expected, self.received = what, expected, received

    def __str__(self) -> str:
        return f"cannot convert {self.what}: expected {self.expected}, received {self.received}"


class MissingConverterError(ConversionError):
    """A library that the conversion needs is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra)
        self.package, self.extra = package, extra

    def __str__(self) -> str:
        return f"cannot convert: {self.package} is not installed; run pip install '{self.extra}'"


class LostOptionError(ConversionError):
    """The converter writes a file that loads, but loses an option of the model."""

    def __init__(self, model_type: str, option: str, effect: str, remedy: str) -> None:
        super().__init__(model_type, option, effect, remedy)
        self.model_type, self.option = model_type, option
        self.effect, self.remedy = effect, remedy

    def __str__(self) -> str:
        return (
            f"cannot convert {self.model_type} with {self.option}: in ONNX {self.effect}; "
            f"{self.remedy}"
        )


class ConverterFailedError(ConversionError):
    """The converter raises an error."""

    def __init__(self, model_type: str, converter: str, problem: str) -> None:
        super().__init__(model_type, converter, problem)
        self.model_type, self.converter, self.problem = model_type, converter, problem

    def __str__(self) -> str:
        return (
            f"{self.converter} cannot convert {self.model_type}: {self.problem}; train without "
            f"what it rejects, or write the ONNX file in another way and register it with "
            f"reference outputs"
        )


class OutputsDifferError(ConversionError):
    """The converted model returns other values than the original; nothing names the cause."""

    def __init__(
        self,
        model_type: str,
        converter: str,
        rows: str,
        count: int,
        differing: int,
        largest: float,
        allowed: float,
        changed_directions: int,
    ) -> None:
        super().__init__(
            model_type, converter, rows, count, differing, largest, allowed, changed_directions
        )
        self.model_type, self.converter, self.rows = model_type, converter, rows
        self.count, self.differing = count, differing
        self.largest, self.allowed = largest, allowed
        self.changed_directions = changed_directions

    def __str__(self) -> str:
        return (
            f"{self.converter} loses an option of {self.model_type}: on {self.differing} of "
            f"{self.count} {self.rows} the converted model returns other values than the original, "
            f"by up to {self.largest:.3g}, expected at most {self.allowed:.3g}, and "
            f"{self.changed_directions} directions change; train without the unusual option, and "
            f"on float32 values"
        )
