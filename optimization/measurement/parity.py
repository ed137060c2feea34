"""How far two models that should give the same are apart, measured on the same windows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from optimization.errors import InvalidInputError, ParityError
from optimization.export.outputs import name_outputs
from optimization.runtime import Windows

Outputs = Mapping[str, NDArray[np.float32]]
Model = Callable[[Windows], Outputs]
"""Outputs by name, each with the batch first."""

_LEAST_SPREAD = 1e-3
"""Of an output that hardly varies, as a share of its largest element."""

_CLASSES = 3
"""Down, flat and up; an output of another width is no direction unless it is named as one."""

DIRECTION_OUTPUTS = ("direction_logits", "direction_probabilities")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far a candidate is from its reference."""

    windows: int
    """On how many windows this was measured."""
    max_abs_difference: Mapping[str, float]
    """Largest difference of a single element, by output; NaN where one gave NaN."""
    mean_abs_difference: Mapping[str, float]
    """Mean difference of the single elements, by output."""
    spread: Mapping[str, float]
    """How much the reference's output varies between windows, by output: the root of the mean
    variance of its elements. A difference is small or large beside this."""
    largest: Mapping[str, float]
    """Largest element of the reference's output, by output."""
    direction_agreement: float | None
    """Share of the windows on which both choose the same class; None without a choice."""
    max_relative_difference: float
    """Largest difference of a single element, in spreads of its output; of an output that hardly
    varies in thousandths of its largest element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an optimised model may be from its FP32 original."""

    direction_agreement: float = 0.995
    """Share of the windows on which the direction must stay what it was."""
    relative: float = 0.25
    """Largest difference of a single element, in spreads of its output over the windows. One
    window in hundreds may move by a quarter of what windows differ by; the typical one moves by a
    hundredth."""
    floor: float = 1e-3
    """Added to that as a share of the output's largest element, for outputs that hardly vary."""

    def __post_init__(self) -> None:
        if not 0 <= self.direction_agreement <= 1:
            received = repr(self.direction_agreement)
            raise InvalidInputError("direction_agreement", "a share from 0 to 1", received)
        for name in ("relative", "floor"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise InvalidInputError(name, "a number of at least 0", repr(value))

    def check(self, parity: Parity) -> None:
        """Raise ParityError, naming the output and both figures, unless `parity` is within."""
        for output, difference in parity.max_abs_difference.items():
            spread, largest = parity.spread[output], parity.largest[output]
            allowed = self.relative * spread + self.floor * largest
            # Written so that NaN fails.
            if not difference <= allowed:
                raise ParityError(
                    output,
                    f"a single element is up to {difference:.3g} away on {parity.windows} "
                    f"windows, expected at most {allowed:.3g}, which is {self.relative:g} "
                    f"of the output's spread of {spread:.3g} and {self.floor:g} of its largest "
                    f"element of {largest:.3g}",
                )
        agreement = parity.direction_agreement
        if agreement is not None and not agreement >= self.direction_agreement:
            raise ParityError(
                "direction",
                f"it is the same on {agreement:.2%} of {parity.windows} windows, expected at "
                f"least {self.direction_agreement:.2%}",
            )


def measure_parity(
    reference: Model, candidate: Model, windows: Windows, batch: int | None = None
) -> Parity:
    """Run both models on `windows` and compare every element of every output.

    Args:
        reference: what is right.
        candidate: what is judged.
        windows: (windows, ...) float32.
        batch: how many windows the models get at once; all of them if None.

    Raises:
        InvalidInputError: there are no windows to compare on.
        ParityError: the candidate's outputs have other names or shapes than the reference's.
    """
    if len(windows) == 0:
        raise InvalidInputError("windows", "at least one window to compare on", "none")
    size = batch or len(windows)
    return compare_outputs(run_all(reference, windows, size), run_all(candidate, windows, size))


def compare_outputs(expected: Outputs, actual: Outputs, direction: str | None = None) -> Parity:
    """Compare what two models gave for the same windows; see measure_parity.

    `direction` is the output by which a class is chosen; see direction_scores without it.
    """
    if expected.keys() != actual.keys():
        raise ParityError("names", f"expected {', '.join(expected)}, received {', '.join(actual)}")
    differences: dict[str, NDArray[np.float64]] = {}
    spread: dict[str, float] = {}
    for output, values in expected.items():
        if values.shape != actual[output].shape:
            raise ParityError(
                output, f"expected the shape {values.shape}, received {actual[output].shape}"
            )
        wide = values.astype(np.float64)
        with np.errstate(invalid="ignore"):
            differences[output] = np.abs(wide - actual[output].astype(np.float64))
            spread[output] = float(np.sqrt(wide.var(axis=0).mean())) if wide.size else 0.0
    largest = {o: float(d.max()) if d.size else 0.0 for o, d in differences.items()}
    magnitude = {o: float(np.abs(v).max(initial=0)) for o, v in expected.items()}
    relative = [
        difference / max(spread[output], _LEAST_SPREAD * magnitude[output]) if difference else 0.0
        for output, difference in largest.items()
        if spread[output] or magnitude[output] or not difference
    ] or [float("inf")]
    return Parity(
        windows=len(next(iter(expected.values()))),
        max_abs_difference=MappingProxyType(largest),
        mean_abs_difference=MappingProxyType(
            {o: float(d.mean()) if d.size else 0.0 for o, d in differences.items()}
        ),
        spread=MappingProxyType(spread),
        largest=MappingProxyType({o: float(np.abs(v).max(initial=0)) for o, v in expected.items()}),
        direction_agreement=_agreement(expected, actual, direction),
        max_relative_difference=float(np.max(relative)),
    )


def require_parity(
    reference: Model, candidate: Model, windows: Windows, tolerance: float = 1e-4
) -> Parity:
    """Measure parity and return it as the evidence that the models agree.

    The tolerance holds for every single element: absolute for outputs up to one, and relative to
    the largest element of an output above. The chosen class may only differ where two scores lie
    closer together than it.

    Raises:
        ParityError: an output is further away than `tolerance`, or not a number.
    """
    if len(windows) == 0:
        raise InvalidInputError("windows", "at least one window to compare on", "none")
    expected = reference(windows)
    parity = compare_outputs(expected, candidate(windows))
    for output, difference in parity.max_abs_difference.items():
        scale = max(1.0, float(np.abs(expected[output]).max(initial=0)))
        # Written so that NaN fails.
        if not difference <= tolerance * scale:
            raise ParityError(
                output,
                f"they are up to {difference:.3g} apart on {parity.windows} windows, "
                f"expected at most {tolerance * scale:.3g}",
            )
    return parity


def run_all(model: Model, windows: Windows, batch: int) -> dict[str, NDArray[np.float32]]:
    """Return a model's outputs for all windows, given `batch` of them at a time.

    Raises:
        ParityError: an output has not the batch first, so that the answers cannot be told apart.
    """
    starts = range(0, len(windows), batch)
    parts = [_answers(model, windows[start : start + batch]) for start in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _answers(model: Model, windows: Windows) -> Outputs:
    outputs = model(windows)
    for name, values in outputs.items():
        if values.shape[:1] != (len(windows),):
            problem = (
                f"expected the batch first, but for a batch of {len(windows)} its shape is "
                f"{values.shape}; keep that dimension, such as with squeeze(-1)"
            )
            raise ParityError(name, problem)
    return outputs


def run_network(network: nn.Module, windows: Windows) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of a network, which must be in eval mode, by name."""
    with torch.inference_mode():
        # A copy, since torch refuses to share memory that is read-only.
        outputs = name_outputs(network(torch.from_numpy(windows.copy())))
        return {name: value.numpy() for name, value in outputs.items()}


def torch_model(network: nn.Module) -> Model:
    """Return `network`, which must be in eval mode and on the CPU, as a Model.

    The model raises InvalidInputError where the network fails on its windows.
    """

    def run(windows: Windows) -> Outputs:
        try:
            return run_network(network, windows)
        # Whatever the network's own code raises.
        except Exception as error:
            raise InvalidInputError(
                "input of the network",
                "windows that it runs on",
                f"float32 of shape {windows.shape}: {type(error).__name__}: {error}",
            ) from error

    return run


def direction_scores(outputs: Outputs, direction: str | None = None) -> NDArray[np.float32] | None:
    """Return the scores by whose largest a class is chosen, None where there are none.

    That is the output `direction`, else the one named as the direction is among ours, else one of
    shape (batch, 3), the first named for logits or probabilities if there is one.
    """
    for name in (direction or "", *DIRECTION_OUTPUTS):
        if name in outputs and outputs[name].ndim == 2:
            return outputs[name]
    wide = [name for name, each in outputs.items() if each.ndim == 2 and each.shape[1] == _CLASSES]
    named = [name for name in wide if "logit" in name.lower() or "prob" in name.lower()]
    return next((outputs[name] for name in (*named, *wide)), None)


def _agreement(expected: Outputs, actual: Outputs, direction: str | None) -> float | None:
    scores, others = direction_scores(expected, direction), direction_scores(actual, direction)
    if scores is None or others is None:
        return None
    return float((scores.argmax(1) == others.argmax(1)).mean())
