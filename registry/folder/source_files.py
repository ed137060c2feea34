"""Checks of the files that are offered to the registry, before they are copied."""

from collections.abc import Mapping
from pathlib import Path

from registry.errors import MissingArtifactError
from registry.folder.pickles import check_no_code
from registry.predictors import check_self_contained
from registry.records import check_artifact_name


def check_sources(files: Mapping[str, Path], change: str) -> None:
    """Check that every file exists, contains data only and refers to no other file.

    Args:
        files: the file by the name of its artifact.
        change: the change of the files, for the error: register or add.

    Raises:
        InvalidNameError: an artifact's name is not valid.
        MissingArtifactError: a file does not exist.
        UnreadableArtifactError: a file is a pickle that would run code, or an ONNX model with
            values in another file.
    """
    for artifact, source in files.items():
        check_artifact_name(artifact)
        if not source.is_file():
            raise MissingArtifactError(source, f"the file to {change} as {artifact}")
        check_no_code(source)
        if artifact.endswith(".onnx"):
            check_self_contained(source.read_bytes(), source)
