"""Errors of the libraries and network classes that run models."""

from collections.abc import Sequence
from pathlib import Path

from registry.errors.base import RegistryError


class MissingPackageError(RegistryError):
    """The library that runs the artifact is not installed."""

    def __init__(self, path: Path | str, package: str, extra: str) -> None:
        super().__init__(path, package, extra)
        self.path, self.package, self.extra = path, package, extra

    def __str__(self) -> str:
        return (
            f"cannot run {self.path} without {self.package}; "
            f"install it: pip install 'tradeserve[{self.extra}]'"
        )


class NoGpuError(RegistryError):
    """A model is configured to run on a GPU, but the library that runs it finds none."""

    def __init__(self, path: Path | str, library: str, problem: str) -> None:
        super().__init__(path, library, problem)
        self.path, self.library, self.problem = path, library, problem

    def __str__(self) -> str:
        return (
            f"cannot run {self.path} on a GPU: {self.library} finds no usable GPU "
            f"({self.problem}); set num_gpus: 0 to run it on the CPU"
        )


class ArchitectureError(RegistryError):
    """Base class of all errors of model types."""


class UnknownArchitectureError(ArchitectureError):
    """No network class has that model type."""

    def __init__(self, model_type: str, known: Sequence[str]) -> None:
        super().__init__(model_type, tuple(known))
        self.model_type, self.known = model_type, tuple(known)

    def __str__(self) -> str:
        return (
            f"unknown model type {self.model_type!r}; known: {', '.join(self.known)}; install "
            f"others as entry points of the group tradeserve.architectures"
        )


class AmbiguousArchitectureError(ArchitectureError):
    """Several network classes have that model type."""

    def __init__(self, model_type: str, sources: Sequence[str]) -> None:
        super().__init__(model_type, tuple(sources))
        self.model_type, self.sources = model_type, tuple(sources)

    def __str__(self) -> str:
        return (
            f"model type {self.model_type!r} is ambiguous: it names {' and '.join(self.sources)}; "
            f"rename the entry point or uninstall its distribution"
        )


class BrokenArchitectureError(ArchitectureError):
    """The network class of that model type cannot be used."""

    def __init__(self, model_type: str, source: str, problem: str) -> None:
        super().__init__(model_type, source, problem)
        self.model_type, self.source, self.problem = model_type, source, problem

    def __str__(self) -> str:
        return (
            f"model type {self.model_type!r} of {self.source} cannot be used: {self.problem}; "
            f"correct the distribution that provides it"
        )


class InputShapeError(RegistryError):
    """The input's shape differs from the shape that the model expects."""

    def __init__(self, expected: str, received: Sequence[int]) -> None:
        super().__init__(expected, tuple(received))
        self.expected, self.received = expected, tuple(received)

    def __str__(self) -> str:
        return f"wrong input shape: expected {self.expected}, received {self.received}"
