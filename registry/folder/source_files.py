"""Checks of the files that are offered to the registry, before they are copied."""

import errno
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from registry.errors import MissingArtifactError, UnreadablePathError, UnsafePathError
from registry.folder.atomic_io import read_file
from registry.folder.pickles import check_no_code
from registry.predictors import MAX_PACKED_BYTES, has_references, pack
from registry.records import check_artifact_name


@contextmanager
def checked_sources(files: Mapping[str, Path], change: str) -> Iterator[Mapping[str, Path]]:
    """Check that every file exists and contains data only, and yield the files to copy.

    An ONNX model with values in other files beside it is packed into one file, in a temporary
    folder.

    Args:
        files: the file by the name of its artifact.
        change: the change of the files, for the error: register or add.

    Raises:
        InvalidNameError: an artifact's name is not valid.
        MissingArtifactError: a file does not exist.
        UnreadableArtifactError: a file is a pickle that would run code, or an ONNX model with
            values in another file that cannot be packed.
    """
    with tempfile.TemporaryDirectory(prefix="tradeserve-packed-") as folder:
        checked = {}
        for artifact, source in files.items():
            check_artifact_name(artifact)
            if not source.is_file():
                raise MissingArtifactError(source, f"the file to {change} as {artifact}")
            check_no_code(source)
            checked[artifact] = _self_contained(artifact, source, Path(folder))
        yield checked


def read_packed(artifact: str, source: Path) -> bytes:
    """Return the content of a file, of an ONNX model with the values in other files beside it.

    Raises:
        UnreadableArtifactError: such a file is no plain file in the model's folder, is missing or
            too short, or the result is too large.
        OSError: `source` cannot be read.
    """
    content = source.read_bytes()
    if not artifact.endswith(".onnx") or not has_references(content, source):
        return content
    return pack(content, source, lambda name: _read_beside(source.parent / name))


def _self_contained(artifact: str, source: Path, folder: Path) -> Path:
    """Return the source, or a packed file in `folder` if it refers to other files."""
    if not artifact.endswith(".onnx") or not has_references(source.read_bytes(), source):
        return source
    packed = folder / artifact
    packed.write_bytes(read_packed(artifact, source))
    return packed


def _read_beside(path: Path) -> memoryview:
    """Return a file's content; OSError for a link, which may lead to any file of the user."""
    if (size := path.lstat().st_size) > MAX_PACKED_BYTES:
        raise OSError(errno.EFBIG, f"it has {size} bytes, more than {MAX_PACKED_BYTES}")
    try:
        return memoryview(read_file(path))
    except UnsafePathError:
        raise OSError(errno.ELOOP, "it is a link, or no regular file") from None
    except UnreadablePathError as error:
        raise OSError(errno.EACCES, error.problem) from error
