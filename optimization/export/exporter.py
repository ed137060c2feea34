"""Export of a PyTorch network to one ONNX file, verified against the network."""

import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.onnx.errors import UnsupportedOperatorError as TorchUnsupportedOperatorError

from optimization.arguments import check_shape
from optimization.errors import (
    ExportError,
    OpsetError,
    OptimizationError,
    ParityError,
    UnsupportedOperatorError,
)
from optimization.export.formulas import Formulas
from optimization.export.verification import value_reads, verify_export
from optimization.files import check_target, put
from optimization.measurement.parity import Parity
from optimization.networks import check_network, prepared, run_network
from optimization.outputs import NamedOutputs

logger = logging.getLogger(__name__)

INPUT_NAME = "windows"
OPSETS = (9, 20)
"""The first and last operator set that the exporter supports."""

# The TorchScript exporter is deliberate: it writes the requested operator set (the other exporter
# stays at 18 if a lower one is requested), a single file and no source paths, in a twentieth of the
# time. Its warnings and those of the tracing are suppressed: each is either known or ruled out for
# this file by running it at every batch size of VERIFIED_BATCHES.

_CHECKED_BATCHES = (3, 5, 1)

_REFUSED = re.compile(
    r"(?:ONNX export of operator|conversion of) (?P<operator>\w+),? "
    r"(?:not implemented )?(?P<detail>.+?)(?:\. Please feel free| *$)"
)
"""The exporter's message for an operator that it supports, but not with these arguments."""

_TRACED_BATCHES = (1, 2)
"""The batch sizes of the tracing.

A network may fix either of them, so the other one is tried too.
"""


def export_onnx(
    network: nn.Module,
    output_path: Path,
    input_shape: tuple[int, ...],
    opset_version: int = 18,
    tolerance: float = 1e-4,
    verbose: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Parity:
    """Export `network` to `output_path` with a dynamic batch; verify the file before publishing it.

    onnx checks the file, and ONNX Runtime runs it beside the network, on seeded random windows at
    every batch size of VERIFIED_BATCHES and at VERIFIED_SCALES. If the network's code branches on
    values of its input, the file keeps one branch, and a warning is logged. On failure nothing is
    written and an existing file at `output_path` is unchanged. The network is not changed either,
    including its training mode.

    Args:
        network: takes (batch, *input_shape) float32; `optimization.outputs` describes the
            structures that it may return and the names of the file's outputs.
        output_path: the file to write; its folder must exist.
        input_shape: the shape without the batch, for example (timesteps, features).
        opset_version: the ONNX operator set, one of OPSETS.
        tolerance: the largest difference of any element of an output, for values up to one; above
            it relative to the output's largest element.
        verbose: print the nodes of the exported graph, also of one that is rejected.
        stopped: returns True once the caller has been cancelled; then no file is written.

    Returns:
        The evidence: the parity of file and network at the largest batch size.

    Raises:
        UnsupportedOperatorError: ONNX has no operator for one of the network's operations.
        OpsetError: the exporter does not support that operator set.
        ExportError: the exporter, the checker or ONNX Runtime fails.
        ParityError: the file runs, but its outputs differ from those of the network.
        OutputFileError: the file cannot be written there.
        InvalidInputError: `input_shape` or `network` is invalid.
    """
    check_target(output_path)
    check_network(network)
    shape = check_shape(input_shape)
    first, last = OPSETS
    if type(opset_version) is not int or not first <= opset_version <= last:
        raise OpsetError(output_path, opset_version, OPSETS)
    with prepared(network, output_path) as reference:
        names = _check_outputs(reference, output_path, shape)
        content, parity = _export_verified(
            reference, output_path, shape, names, opset_version, tolerance, verbose
        )
        reads = value_reads(reference, torch.randn(3, *shape))
    if reads:
        logger.warning(
            "%s: the network reads values of its input at %s; the file keeps the values read "
            "during tracing, and agrees with the network on noise of all verified scales; use "
            "torch.where for a branch",
            output_path,
            ", ".join(reads),
        )
    put(output_path, content, stopped)
    return parity


def _export_verified(
    network: nn.Module,
    output_path: Path,
    shape: tuple[int, ...],
    names: tuple[str, ...],
    opset_version: int,
    tolerance: float,
    verbose: bool,
) -> tuple[bytes, Parity]:
    failure: OptimizationError | None = None
    for traced_batch in _TRACED_BATCHES:
        example = torch.zeros(traced_batch, *shape)
        content = _to_onnx(network, output_path, example, names, opset_version)
        if verbose:
            _print_nodes(content)
        try:
            return content, verify_export(network, content, output_path, shape, tolerance)
        except (ExportError, ParityError) as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _to_onnx(
    network: nn.Module,
    output_path: Path,
    example: torch.Tensor,
    names: tuple[str, ...],
    opset_version: int,
) -> bytes:
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            _quiet(),
            _without_fast_path(),
            Formulas(),
        ):
            file = Path(folder, "model.onnx")
            torch.onnx.export(
                NamedOutputs(network, names).train(network.training),
                (example,),
                file,
                dynamo=False,
                input_names=[INPUT_NAME],
                output_names=list(names),
                dynamic_axes={name: {0: "batch"} for name in (INPUT_NAME, *names)},
                opset_version=opset_version,
            )
            content = file.read_bytes()
    except TorchUnsupportedOperatorError as error:
        operator = _operator(error)
        modules = _users_of(operator, network, example)
        raise UnsupportedOperatorError(output_path, operator, modules, opset_version) from error
    # The network's own code may raise any exception during tracing.
    except Exception as error:
        if found := _REFUSED.search(str(error)):
            operator = f"aten::{found['operator'].lower()}"
            modules = _users_of(operator, network, example)
            raise UnsupportedOperatorError(
                output_path, operator, modules, opset_version, found["detail"]
            ) from error
        # The exporter appends the whole graph to some of its messages.
        problem = str(error).partition("[Caused by")[0].strip()
        raise ExportError(output_path, f"{type(error).__name__}: {problem}") from error
    written = {
        used.domain: used.version for used in onnx.load_model_from_string(content).opset_import
    }
    if written.get("") != opset_version:
        raise OpsetError(output_path, opset_version, OPSETS)
    return content


def _print_nodes(content: bytes) -> None:
    """Print a graph without its weights, which may take megabytes."""
    for node in onnx.load_model_from_string(content).graph.node:
        inputs = ", ".join(node.input)
        print(f"{', '.join(node.output)} = {node.op_type}({inputs})")  # noqa: T201


def _check_outputs(
    network: nn.Module, output_path: Path, shape: tuple[int, ...]
) -> tuple[str, ...]:
    """Return the names of the outputs, whose first dimension must be the batch at every size."""
    for batch in _CHECKED_BATCHES:
        try:
            # Noise, since a network may legitimately fail on a flat window.
            windows = np.random.default_rng(0).standard_normal((batch, *shape), dtype=np.float32)
            outputs = run_network(network, windows)
        except Exception as error:
            raise ExportError(output_path, f"{type(error).__name__}: {error}") from error
        for name, values in outputs.items():
            if values.shape[:1] != (batch,):
                problem = (
                    f"expected the batch as the first dimension of every output, but for a batch "
                    f"of {batch} {name} has the shape {values.shape}"
                )
                raise ExportError(output_path, problem)
    return tuple(outputs)


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """Disable the fused kernels of PyTorch's transformer layers, which ONNX has no operators
    for."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter prints a failing graph regardless of its options; the error states the cause.
    printed = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *_: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch._C._jit_onnx_log = printed


def _operator(error: Exception) -> str:
    found = re.search(r"'([\w.]+::[\w.]+)'", str(error))
    return found.group(1) if found else str(error)


def _users_of(operator: str, network: nn.Module, example: torch.Tensor) -> tuple[str, ...]:
    """Trace the network and return the modules that use an operator, as `name (class)`."""
    with _quiet(), _without_fast_path(), Formulas():
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, example, check_trace=False, strict=False
        )
    kinds = {name: type(module).__name__ for name, module in network.named_modules()}
    found: dict[str, None] = {}
    for node in traced.inlined_graph.nodes():
        if node.kind() == operator:
            scope = node.scopeName().rpartition("/")[2].removeprefix("__module.")
            name = scope.removeprefix("__module")
            kind = kinds.get(name, "")
            found[f"{name} ({kind})" if name else f"the network itself ({kinds['']})"] = None
    return tuple(found)
