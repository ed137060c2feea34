"""From a PyTorch network to one ONNX file that is proven to give the same."""

import copy
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from optimization.errors import ExportError, ParityError
from optimization.parity import Parity, onnx_model, require_parity, torch_model
from registry.architectures import OUTPUT_NAMES
from registry.store import write_file

INPUT_NAME = "windows"
PROOF_BATCHES = (1, 2, 7, 32)
"""Batch sizes at which every exported file is compared with its network."""

# The TorchScript exporter is chosen on purpose: it writes the operator set that it is asked for
# (the other one stays at 18 when asked for less), one file and no source paths, in a twentieth
# of the time. What it warns of is either known or proven harmless below.
_EXPECTED_WARNINGS = (
    "You are using the legacy TorchScript-based ONNX export",
    "The feature will be removed",
    # The shape check of the network looks at sizes that stay fixed.
    "Converting a tensor to a Python boolean",
    # Disproved for this file by running it at every batch size of PROOF_BATCHES.
    "Exporting a model to ONNX with a batch_size other than 1",
)


def export_onnx(
    network: nn.Module,
    output_path: Path,
    input_shape: tuple[int, int],
    opset_version: int = 18,
    tolerance: float = 1e-4,
) -> Parity:
    """Export `network` to `output_path` with a dynamic batch, and prove the file before it appears.

    The file is checked by onnx and compared with the network, on seeded random windows at every
    batch size of PROOF_BATCHES, in ONNX Runtime. On failure nothing is written and a former file
    at `output_path` stays. The network itself is left as it is, training mode included.

    Args:
        network: gives OUTPUT_NAMES for (batch, timesteps, features) float32.
        output_path: the file to write; its folder must exist.
        input_shape: (timesteps, features), without the batch.
        opset_version: ONNX operator set.
        tolerance: largest difference allowed of any single element of an output.

    Returns:
        The evidence: how far the file is from the network at the largest proven batch.

    Raises:
        ExportError: the exporter, the checker or ONNX Runtime refuses.
        ParityError: the file runs but gives something else than the network.
    """
    # A copy, since exporting needs eval mode and the caller may be in the middle of training.
    reference = copy.deepcopy(network).cpu().eval()
    content = _to_onnx(reference, output_path, input_shape, opset_version)
    parity = _prove(reference, content, output_path, input_shape, tolerance)
    try:
        write_file(output_path, content)
    except OSError as error:
        raise ExportError(output_path, str(error)) from error
    return parity


def _to_onnx(
    network: nn.Module, output_path: Path, input_shape: tuple[int, int], opset_version: int
) -> bytes:
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            for message in _EXPECTED_WARNINGS:
                warnings.filterwarnings("ignore", message)
            file = Path(folder, "model.onnx")
            torch.onnx.export(
                network,
                (torch.zeros(1, *input_shape),),
                file,
                dynamo=False,
                input_names=[INPUT_NAME],
                output_names=list(OUTPUT_NAMES),
                dynamic_axes={name: {0: "batch"} for name in (INPUT_NAME, *OUTPUT_NAMES)},
                opset_version=opset_version,
            )
            return file.read_bytes()
    # Whatever the network's own code raises while it is traced comes through here.
    except Exception as error:
        raise ExportError(output_path, f"{type(error).__name__}: {error}") from error


def _prove(
    network: nn.Module,
    content: bytes,
    output_path: Path,
    input_shape: tuple[int, int],
    tolerance: float,
) -> Parity:
    random = np.random.default_rng(seed=0)
    reference = torch_model(network)
    try:
        onnx.checker.check_model(content, full_check=True)
        exported = onnx_model(content)
        for batch in PROOF_BATCHES:
            windows = random.standard_normal((batch, *input_shape), dtype=np.float32)
            parity = require_parity(reference, exported, windows, tolerance)
    except ParityError:
        raise
    # onnx and ONNX Runtime raise classes of their own for each kind of refusal.
    except Exception as error:
        raise ExportError(output_path, f"{type(error).__name__}: {error}") from error
    return parity
