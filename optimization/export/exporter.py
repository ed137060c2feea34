"""From a PyTorch network to one ONNX file that is proven to give the same."""

import copy
import logging
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.onnx.errors import UnsupportedOperatorError as TorchUnsupportedOperatorError

from optimization.errors import (
    ExportError,
    InvalidInputError,
    OpsetError,
    OptimizationError,
    ParityError,
    UnsupportedOperatorError,
)
from optimization.export.formulas import Formulas
from optimization.export.outputs import NamedOutputs
from optimization.export.verification import value_reads, verify_export
from optimization.files import check_target, put
from optimization.measurement.parity import Parity, run_network

logger = logging.getLogger(__name__)

INPUT_NAME = "windows"
OPSETS = (9, 20)
"""First and last operator set that the exporter writes."""

# The TorchScript exporter is chosen on purpose: it writes the operator set that it is asked for
# (the other one stays at 18 when asked for less), one file and no source paths, in a twentieth
# of the time. What it and the tracing warn of is either known or disproved for this file by
# running it at every batch size of PROOF_BATCHES.

_PREPARED = threading.Lock()
"""The exporter keeps global state, and so do PyTorch's threads and fast path: one at a time."""

_CHECKED_BATCHES = (3, 5, 1)

_REFUSED = re.compile(
    r"(?:ONNX export of operator|conversion of) (?P<operator>\w+),? "
    r"(?:not implemented )?(?P<detail>.+?)(?:\. Please feel free| *$)"
)
"""How the exporter says that it writes an operator, but not with these arguments."""

_TRACED_BATCHES = (1, 2)
"""A network that squeezes holds on to a batch of 1, another one to the 2; one of them will do."""


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

    The file is checked by onnx and compared with the network, on seeded random windows at every
    batch size of PROOF_BATCHES and at PROOF_SCALES, in ONNX Runtime. Where the network's code
    decides by the values of its input, the file holds on to one decision: that is logged. On
    failure nothing is written and a former file at `output_path` stays. The network itself is
    left as it is, training mode included.

    Args:
        network: takes (batch, *input_shape) float32; what it may give, and by which names the
            file gives it, says `optimization.export.outputs`.
        output_path: the file to write; its folder must exist.
        input_shape: for example (timesteps, features), without the batch.
        opset_version: ONNX operator set, one of OPSETS.
        tolerance: largest difference allowed of any single element of an output, for values up to
            one; above it relative to the output's largest.
        verbose: print the nodes of the exported graph, also of one that is refused.
        stopped: tells at the end whether the file is not wanted any more.

    Returns:
        The evidence: how far the file is from the network at the largest proven batch.

    Raises:
        UnsupportedOperatorError: ONNX has nothing for one of the network's operations.
        OpsetError: the exporter does not write that operator set.
        ExportError: the exporter, the checker or ONNX Runtime refuses.
        ParityError: the file runs but gives something else than the network.
        OutputFileError: the file cannot be written there.
        InvalidInputError: `input_shape` or `network` is none.
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
            "%s: the network reads values of its input at %s; the file keeps what was read while "
            "it was traced, and agrees on noise of every size that was tried; use torch.where for "
            "a branch",
            output_path,
            ", ".join(reads),
        )
    put(output_path, content, stopped)
    return parity


def check_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one sample as plain integers; InvalidInputError if it is none."""
    sizes = tuple(shape)
    if not sizes or any(
        not isinstance(size, int | np.integer) or isinstance(size, bool) or size < 1
        for size in sizes
    ):
        expected = "the sizes of one sample, such as (60, 110), each a whole number of at least 1"
        raise InvalidInputError("input_shape", expected, repr(shape))
    return tuple(int(size) for size in sizes)


def check_network(network: object) -> None:
    """Return if it is a network with weights; InvalidInputError if not."""
    if not isinstance(network, nn.Module):
        received = f"{network!r:.80}"
        raise InvalidInputError("model", "an instance of torch.nn.Module", received)
    lazy = [name for name, each in network.named_parameters() if is_lazy(each)]
    if lazy:
        expected = "a network with weights; run it once on a batch, so that lazy layers get theirs"
        raise InvalidInputError("model", expected, f"{', '.join(lazy)} without a shape")


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
    # Whatever the network's own code raises while it is traced comes through here.
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
        each.domain: each.version for each in onnx.load_model_from_string(content).opset_import
    }
    if written.get("") != opset_version:
        raise OpsetError(output_path, opset_version, OPSETS)
    return content


def _print_nodes(content: bytes) -> None:
    """Print a graph without its weights, which may be megabytes."""
    for node in onnx.load_model_from_string(content).graph.node:
        taken = ", ".join(node.input)
        print(f"{', '.join(node.output)} = {node.op_type}({taken})")  # noqa: T201


@contextmanager
def prepared(network: nn.Module, output_path: Path) -> Iterator[nn.Module]:
    """Give the network in eval mode on the CPU, one at a time; the caller's is as it was then."""
    with _PREPARED:
        yield from _in_eval_mode(network, output_path)


def _in_eval_mode(network: nn.Module, output_path: Path) -> Iterator[nn.Module]:
    modes = {module: module.training for module in network.modules()}
    try:
        # A copy, since exporting needs eval mode and the caller may be in the middle of training.
        try:
            reference = copy.deepcopy(network)
        # Networks that keep computed tensors, such as those of weight_norm, cannot be copied.
        except Exception as error:
            if any(parameter.device.type != "cpu" for parameter in network.parameters()):
                problem = f"it is not on the CPU and cannot be copied there: {error}"
                raise ExportError(output_path, problem) from error
            reference = network
        yield reference.cpu().eval()
    finally:
        for module, training in modes.items():
            module.training = training


def _check_outputs(
    network: nn.Module, output_path: Path, shape: tuple[int, ...]
) -> tuple[str, ...]:
    """Return the names of the outputs; each must have the batch first, whatever its size."""
    for batch in _CHECKED_BATCHES:
        try:
            # Noise: a network may rightly fail on a flat window.
            windows = np.random.default_rng(0).standard_normal((batch, *shape), dtype=np.float32)
            outputs = run_network(network, windows)
        except Exception as error:
            raise ExportError(output_path, f"{type(error).__name__}: {error}") from error
        for name, values in outputs.items():
            if values.shape[:1] != (batch,):
                problem = (
                    f"expected every output with the batch first, but for a batch of {batch} "
                    f"{name} has the shape {values.shape}"
                )
                raise ExportError(output_path, problem)
    return tuple(outputs)


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """Trace PyTorch's transformer layers, whose fused kernels have no counterpart in ONNX."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter prints a graph that fails whatever it is told; the error says what failed.
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
    """Return the modules that use an operator, as `name (class)`, from a trace of the network."""
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
