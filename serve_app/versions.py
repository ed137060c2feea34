"""The reference to one version of one model, used throughout the system."""

from typing import NamedTuple, Self

from registry.records import ModelMetadata


class VersionRef(NamedTuple):
    """One version of one model.

    Its `str` is the `model:version` of log lines, responses and stored values.

    >>> str(VersionRef("hybrid_cnn_lstm", "1.0.0"))
    'hybrid_cnn_lstm:1.0.0'
    """

    model: str
    version: str
    """The version's number, never the name of a stage."""

    @classmethod
    def of(cls, metadata: ModelMetadata) -> Self:
        """Return the reference to the version that `metadata` describes."""
        return cls(metadata.name, metadata.version)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference that reads as `text`.

        Raises:
            ValueError: the text is not `model:version`.
        """
        model, colon, version = text.partition(":")
        if not (model and colon and version):
            raise ValueError(f"expected model:version, received {text!r}")
        return cls(model, version)

    def __str__(self) -> str:
        return f"{self.model}:{self.version}"
