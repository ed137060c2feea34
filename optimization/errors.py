"""The errors of an optimisation, as one tree.

    OptimizationError
    ├── WeightsError                  a file of weights is missing, damaged or another network's
    ├── ExportError                   the network cannot be exported, or the file does not run
    │   ├── OpsetError                the exporter does not write that operator set
    │   └── UnsupportedOperatorError  ONNX has no operator for an operation of a module
    ├── InvalidModelError             an ONNX file is missing, damaged, or of another kind
    ├── InvalidInputError             windows, a shape or a number are invalid
    ├── QuantizationError             the model cannot be quantised
    ├── GraphError                    the graph cannot be rewritten
    ├── ParityError                   the outputs of a model differ from those of its reference
    └── OutputFileError               the result cannot be written to its path

Errors carry data, and are rebuilt from `args` after pickling.
"""

from pathlib import Path


class OptimizationError(Exception):
    """Base class of all errors of optimization."""


class WeightsError(OptimizationError):
    """The weights of a network cannot be loaded."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"cannot load the weights from {self.path}: {self.problem}; pass a state dict or a "
            f"checkpoint of this network"
        )


class ExportError(OptimizationError):
    """The network cannot be exported, or the exported file does not run."""

    def __init__(self, output_path: Path, problem: str) -> None:
        super().__init__(output_path, problem)
        self.output_path, self.problem = output_path, problem

    def __str__(self) -> str:
        return f"cannot export to {self.output_path}: {self.problem}; no file was written"


class OpsetError(ExportError):
    """The exporter does not support the requested operator set."""

    def __init__(self, output_path: Path, requested: object, offered: tuple[int, int]) -> None:
        first, last = offered
        super().__init__(
            output_path,
            f"opset_version {requested!r} is not supported; choose one from {first} to {last}",
        )
        self.args = (output_path, requested, offered)
        self.requested, self.offered = requested, offered


class UnsupportedOperatorError(ExportError):
    """The ONNX operator set has no operator for an operation of a module."""

    def __init__(
        self,
        output_path: Path,
        operator: str,
        modules: tuple[str, ...],
        opset_version: int,
        detail: str = "",
    ) -> None:
        where = " and ".join(modules) or "the network's own forward"
        how = f" ({detail})" if detail else ""
        super().__init__(
            output_path,
            f"ONNX operator set {opset_version} has no operator for {operator}{how}, used by "
            f"{where}; write that module with other operations or try another opset_version",
        )
        self.args = (output_path, operator, modules, opset_version, detail)
        self.operator, self.modules, self.opset_version = operator, modules, opset_version
        self.detail = detail


class InvalidModelError(OptimizationError):
    """An ONNX file is missing, damaged, or of another kind."""

    def __init__(self, path: Path | str, expected: str, problem: str) -> None:
        super().__init__(path, expected, problem)
        self.path, self.expected, self.problem = path, expected, problem

    def __str__(self) -> str:
        return f"cannot use {self.path}: expected {self.expected}, but {self.problem}"


class InvalidInputError(OptimizationError):
    """An argument is invalid."""

    def __init__(self, what: str, expected: str, received: str) -> None:
        super().__init__(what, expected, received)
        self.what, self.expected, self.received = what, expected, received

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, received {self.received}"


class QuantizationError(OptimizationError):
    """The model cannot be quantised."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"cannot quantise {self.path}: {self.problem}; no file was written"


class GraphError(OptimizationError):
    """The graph of a model cannot be rewritten."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"cannot rewrite the graph of {self.path}: {self.problem}; no file was written"


class ParityError(OptimizationError):
    """The outputs of a model differ from those of its reference."""

    def __init__(self, output: str, problem: str) -> None:
        super().__init__(output, problem)
        self.output, self.problem = output, problem

    def __str__(self) -> str:
        return f"the models disagree in {self.output}: {self.problem}"


class OutputFileError(OptimizationError):
    """A file cannot be written to its path."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.problem}; an existing file there is unchanged"
