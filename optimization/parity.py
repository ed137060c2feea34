"""How far two models that should give the same are apart, measured on the same windows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from optimization.errors import ParityError
from registry.architectures import OUTPUT_NAMES

Windows = NDArray[np.float32]
"""(batch, timesteps, features)."""

Model = Callable[[Windows], Mapping[str, NDArray[np.float32]]]
"""Outputs by name, each with the batch first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far a candidate is from its reference."""

    windows: int
    """On how many windows this was measured."""
    max_abs_difference: Mapping[str, float]
    """Largest difference of a single element, by output; NaN where one gave NaN."""
    mean_abs_difference: Mapping[str, float]
    """Mean difference of the single elements, by output."""
    direction_agreement: float
    """Share of the windows on which both choose the same class."""


def measure_parity(reference: Model, candidate: Model, windows: Windows) -> Parity:
    """Run both models on `windows` and compare every element of every output.

    Raises:
        ValueError: there are no windows to compare on.
        ParityError: the candidate's outputs have other names or shapes than the reference's.
    """
    if len(windows) == 0:
        raise ValueError("parity needs at least one window")
    expected, actual = reference(windows), candidate(windows)
    if expected.keys() != actual.keys():
        raise ParityError("names", f"expected {', '.join(expected)}, received {', '.join(actual)}")
    differences: dict[str, NDArray[np.float64]] = {}
    for output, values in expected.items():
        if values.shape != actual[output].shape:
            raise ParityError(
                output, f"expected the shape {values.shape}, received {actual[output].shape}"
            )
        differences[output] = np.abs(values.astype(np.float64) - actual[output])
    same_class = expected["direction_logits"].argmax(1) == actual["direction_logits"].argmax(1)
    return Parity(
        windows=len(windows),
        max_abs_difference=MappingProxyType({o: float(d.max()) for o, d in differences.items()}),
        mean_abs_difference=MappingProxyType({o: float(d.mean()) for o, d in differences.items()}),
        direction_agreement=float(same_class.mean()),
    )


def require_parity(
    reference: Model, candidate: Model, windows: Windows, tolerance: float = 1e-4
) -> Parity:
    """Measure parity and return it as the evidence that the models agree.

    The tolerance is absolute and holds for every single element; the chosen class may only
    differ where two logits lie closer together than it.

    Raises:
        ParityError: an output is further away than `tolerance`, or not a number.
    """
    parity = measure_parity(reference, candidate, windows)
    for output, difference in parity.max_abs_difference.items():
        # Written so that NaN fails.
        if not difference <= tolerance:
            raise ParityError(
                output,
                f"they are up to {difference:.3g} apart on {parity.windows} windows, "
                f"expected at most {tolerance:.3g}",
            )
    return parity


def torch_model(network: nn.Module) -> Model:
    """Return `network`, which must be in eval mode, as a Model."""

    def run(windows: Windows) -> Mapping[str, NDArray[np.float32]]:
        with torch.inference_mode():
            # A copy, since torch refuses to share memory that is read-only.
            outputs = network(torch.from_numpy(windows.copy()))
        return {name: getattr(outputs, name).numpy() for name in OUTPUT_NAMES}

    return run


def onnx_model(source: Path | bytes) -> Model:
    """Return an ONNX file, or its content, as a Model on one thread of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name
    names = [output.name for output in session.get_outputs()]

    def run(windows: Windows) -> Mapping[str, NDArray[np.float32]]:
        return dict(zip(names, session.run(names, {input_name: windows}), strict=True))

    return run
