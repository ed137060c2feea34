"""Everything that the optimisation of a model fails at, as one tree.

    OptimizationError
    ├── WeightsError                  a file of weights is missing, damaged or another network's
    ├── ExportError                   the network cannot be exported, or the file does not run
    │   ├── OpsetError                the exporter does not write that operator set
    │   └── UnsupportedOperatorError  ONNX has no operator for what a module does
    ├── InvalidModelError             an ONNX file is missing, damaged, or not of the kind needed
    ├── InvalidInputError             windows, a shape or a number that cannot be worked with
    ├── QuantizationError             the model cannot be quantised
    ├── GraphError                    the graph cannot be optimised
    ├── ParityError                   a model does not give what its reference gives
    └── OutputFileError               the result cannot be written where it should go

Errors carry data and rebuild after pickling from `args`.
"""

from pathlib import Path


class OptimizationError(Exception):
    """Base of everything raised by optimization."""


class WeightsError(OptimizationError):
    """The weights that a network should get cannot be had."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"cannot take the weights from {self.path}: {self.problem}; nothing is exported with "
            f"other weights than the ones asked for"
        )


class ExportError(OptimizationError):
    """No usable ONNX file could be made of the network."""

    def __init__(self, output_path: Path, problem: str) -> None:
        super().__init__(output_path, problem)
        self.output_path, self.problem = output_path, problem

    def __str__(self) -> str:
        return f"cannot export to {self.output_path}: {self.problem}; no file was written"


class OpsetError(ExportError):
    """The exporter does not write the operator set that was asked for."""

    def __init__(self, output_path: Path, requested: object, offered: tuple[int, int]) -> None:
        first, last = offered
        super().__init__(
            output_path,
            f"opset_version {requested!r} is not among those that the exporter writes, "
            f"{first} to {last}",
        )
        self.args = (output_path, requested, offered)
        self.requested, self.offered = requested, offered


class UnsupportedOperatorError(ExportError):
    """A module of the network does what no ONNX operator of that set does."""

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
            f"ONNX operator set {opset_version} has nothing for {operator}{how}, used by {where}; "
            f"write that module with other operations, or try another opset_version",
        )
        self.args = (output_path, operator, modules, opset_version, detail)
        self.operator, self.modules, self.opset_version = operator, modules, opset_version
        self.detail = detail


class InvalidModelError(OptimizationError):
    """An ONNX file that cannot be used."""

    def __init__(self, path: Path | str, expected: str, problem: str) -> None:
        super().__init__(path, expected, problem)
        self.path, self.expected, self.problem = path, expected, problem

    def __str__(self) -> str:
        return f"cannot use {self.path}: expected {self.expected}, but {self.problem}"


class InvalidInputError(OptimizationError):
    """An argument that cannot be worked with."""

    def __init__(self, what: str, expected: str, received: str) -> None:
        super().__init__(what, expected, received)
        self.what, self.expected, self.received = what, expected, received

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, received {self.received}"


class QuantizationError(OptimizationError):
    """No quantised file could be made of the model."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"cannot quantise {self.path}: {self.problem}; no file was written"


class GraphError(OptimizationError):
    """ONNX Runtime could not write an optimised graph."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"cannot optimise the graph of {self.path}: {self.problem}; no file was written"


class ParityError(OptimizationError):
    """Two models that should agree do not."""

    def __init__(self, output: str, problem: str) -> None:
        super().__init__(output, problem)
        self.output, self.problem = output, problem

    def __str__(self) -> str:
        return f"the models disagree in {self.output}: {self.problem}"


class OutputFileError(OptimizationError):
    """A file cannot be written where it was asked for."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.problem}; a former file there stays as it was"
