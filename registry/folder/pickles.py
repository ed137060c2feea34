"""Detects files that would run code when loaded, without unpickling them.

A state dict written by `torch.save` is a zip file whose pickle rebuilds tensors and plain values.
A pickled module names its own classes, and any pickle can name any function. This check only gives
a clear message early: files are always loaded with `weights_only=True`, which prevents execution.
"""

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from registry.errors import UnreadableArtifactError

_REBUILDS_DATA = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch", "device"),
    ("_codecs", "encode"),
}
_REBUILDERS = ("torch._utils", "_rebuild_")

MAX_PICKLE_BYTES = 4_000_000
"""Largest pickle in a checkpoint, enough for 20,000 tensors, whose values are not in it."""

_BARE_PICKLE_BYTES = 1_000_000
"""The part of a file without an archive that is read; no such file is loaded as a checkpoint."""


def check_no_code(path: Path) -> None:
    """Check that a file is no pickle, or a pickle that only rebuilds tensors and plain values.

    Raises:
        UnreadableArtifactError: it names a class or function that loading would call, or it is a
            damaged archive.
    """
    try:
        named = [name for name in _named(path) if not _is_data(*name)]
    except UnreadableArtifactError:
        raise
    # A damaged archive may raise any error.
    except Exception as error:
        problem = f"the file is damaged ({type(error).__name__}: {error}); save it again"
        raise UnreadableArtifactError(path, "a checkpoint", problem) from error
    if named:
        module, attribute = named[0]
        raise UnreadableArtifactError(
            path,
            "weights only (a state dict, saved with save_checkpoint)",
            f"it is a pickle that would call {module}.{attribute} when loaded; save weights only",
        )


def _is_data(module: str, name: str) -> bool:
    rebuilder_module, rebuilder_prefix = _REBUILDERS
    return (
        (module, name) in _REBUILDS_DATA
        or (module == rebuilder_module and name.startswith(rebuilder_prefix))
        or (module in {"torch", "torch.storage"} and name.endswith("Storage"))
        or (module == "torch" and _DTYPES.fullmatch(name) is not None)
    )


_DTYPES = re.compile(r"b?float\d+(_\w+)?|u?int\d+|complex\d+|bool")


def _named(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of every global that the pickles in a file refer to."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            yield from _named_in(file.read(_BARE_PICKLE_BYTES))
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".pkl"):
                if member.file_size > MAX_PICKLE_BYTES:
                    expected = f"a checkpoint with a pickle of at most {MAX_PICKLE_BYTES} bytes"
                    problem = f"{member.filename} has {member.file_size}; save tensors only"
                    raise UnreadableArtifactError(path, expected, problem)
                yield from _named_in(archive.read(member))


def _named_in(pickled: bytes) -> Iterator[tuple[str, str]]:
    strings = ["?", "?"]
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(pickled)):
            if opcode.name in {"GLOBAL", "INST"}:
                module, name = str(argument).split(" ", 1)
                yield module, name
            elif opcode.name == "STACK_GLOBAL":
                # Its operands are the last two strings on the stack, as every pickler writes them.
                yield strings[-2], strings[-1]
            elif isinstance(argument, str):
                strings.append(argument)
    # Not a pickle, or a damaged one: nothing after this point can be loaded.
    except (ValueError, OverflowError, MemoryError):
        return
