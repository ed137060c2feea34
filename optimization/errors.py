"""Everything that the optimisation of a model fails at, as one tree.

    OptimizationError
    ├── ExportError     the network cannot be exported, or the file does not run everywhere
    └── ParityError     a model does not give what its reference gives

Errors carry data and rebuild after pickling from `args`.
"""

from pathlib import Path


class OptimizationError(Exception):
    """Base of everything raised by optimization."""


class ExportError(OptimizationError):
    """No usable ONNX file could be made of the network."""

    def __init__(self, output_path: Path, problem: str) -> None:
        super().__init__(output_path, problem)
        self.output_path, self.problem = output_path, problem

    def __str__(self) -> str:
        return f"cannot export to {self.output_path}: {self.problem}; no file was written"


class ParityError(OptimizationError):
    """Two models that should agree do not."""

    def __init__(self, output: str, problem: str) -> None:
        super().__init__(output, problem)
        self.output, self.problem = output, problem

    def __str__(self) -> str:
        return f"the models disagree in {self.output}: {self.problem}"
