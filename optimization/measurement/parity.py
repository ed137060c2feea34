"""Differences between the outputs of two models on the same windows."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from optimization.errors import InvalidInputError, ParityError
from optimization.runtime import Model, Outputs, Windows

_LEAST_SPREAD = 1e-3
"""The least spread of an output that hardly varies, as a share of its largest element."""

_CLASSES = 3
"""Down, flat and up; an output of another width is a direction only if it is named as one."""

DIRECTION_OUTPUTS = ("direction_logits", "direction_probabilities")

NO_DIRECTION = ""
"""The name of the direction's output for a model that has none, such as one of quantiles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """The differences between a candidate and its reference."""

    windows: int
    """The number of windows on which the differences were measured."""
    max_abs_difference: Mapping[str, float]
    """The largest difference of a single element, by output; NaN if a model returned NaN."""
    mean_abs_difference: Mapping[str, float]
    """The mean difference of the elements, by output."""
    spread: Mapping[str, float]
    """The variation of the reference's output between windows, by output: the root of the mean
    variance of its elements. It is the scale for differences."""
    largest: Mapping[str, float]
    """The largest element of the reference's output, by output."""
    direction_agreement: float | None
    """The share of the windows on which both choose the same class; None without a direction."""
    max_relative_difference: float
    """The largest difference of a single element, in spreads of its output; for an output that
    hardly varies, in thousandths of its largest element."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The largest accepted differences between an optimised model and its FP32 original."""

    direction_agreement: float = 0.995
    """The minimum share of the windows whose direction must not change."""
    relative: float = 0.25
    """The largest difference of a single element, in spreads of its output over the windows. One
    window in hundreds may differ by a quarter of the spread; a typical one differs by a
    hundredth."""
    floor: float = 1e-3
    """The additional difference as a share of the output's largest element, for outputs that hardly
    vary."""

    def __post_init__(self) -> None:
        if not 0 <= self.direction_agreement <= 1:
            received = repr(self.direction_agreement)
            raise InvalidInputError("direction_agreement", "a share from 0 to 1", received)
        for name in ("relative", "floor"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise InvalidInputError(name, "a number of at least 0", repr(value))

    def check(self, parity: Parity) -> None:
        """Raise ParityError with the output and both figures if `parity` exceeds the tolerance."""
        for output, difference in parity.max_abs_difference.items():
            spread, largest = parity.spread[output], parity.largest[output]
            allowed = self.relative * spread + self.floor * largest
            # Written so that NaN fails.
            if not difference <= allowed:
                raise ParityError(
                    output,
                    f"a single element differs by up to {difference:.3g} on {parity.windows} "
                    f"windows, expected at most {allowed:.3g}, that is {self.relative:g} "
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
        reference: the model whose outputs are correct.
        candidate: the model to evaluate.
        windows: (windows, ...) float32.
        batch: windows per run; all of them if None.

    Raises:
        InvalidInputError: there are no windows.
        ParityError: the candidate's outputs have other names or shapes than the reference's.
    """
    if len(windows) == 0:
        raise InvalidInputError("windows", "at least one window for the comparison", "none")
    size = batch or len(windows)
    return compare_outputs(run_all(reference, windows, size), run_all(candidate, windows, size))


def compare_outputs(expected: Outputs, actual: Outputs, direction: str | None = None) -> Parity:
    """Compare the outputs of two models for the same windows; see measure_parity.

    `direction` names the output that chooses the class; by default see direction_scores.
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

    The tolerance applies to every element: absolute for outputs up to one, above it relative to
    the output's largest element. The chosen class can only differ where two scores lie closer
    together than the tolerance.

    Raises:
        ParityError: an output differs by more than `tolerance`, or is not a number.
    """
    if len(windows) == 0:
        raise InvalidInputError("windows", "at least one window for the comparison", "none")
    expected = reference(windows)
    parity = compare_outputs(expected, candidate(windows))
    for output, difference in parity.max_abs_difference.items():
        scale = max(1.0, float(np.abs(expected[output]).max(initial=0)))
        # Written so that NaN fails.
        if not difference <= tolerance * scale:
            raise ParityError(
                output,
                f"they differ by up to {difference:.3g} on {parity.windows} windows, "
                f"expected at most {tolerance * scale:.3g}",
            )
    return parity


def run_all(model: Model, windows: Windows, batch: int) -> dict[str, NDArray[np.float32]]:
    """Return a model's outputs for all windows, run in batches of `batch`.

    Raises:
        ParityError: the batch is not an output's first dimension.
    """
    starts = range(0, len(windows), batch)
    parts = [_run_batch(model, windows[start : start + batch]) for start in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _run_batch(model: Model, windows: Windows) -> Outputs:
    outputs = model(windows)
    for name, values in outputs.items():
        if values.shape[:1] != (len(windows),):
            problem = (
                f"expected the batch as the first dimension, but for a batch of {len(windows)} its "
                f"shape is {values.shape}; keep that dimension, for example with squeeze(-1)"
            )
            raise ParityError(name, problem)
    return outputs


def match_names(expected: Outputs, received: Outputs) -> Outputs:
    """Return a file's outputs by the network's names; in their order if the names differ.

    Raises:
        ParityError: the numbers of outputs differ.
    """
    if expected.keys() == received.keys():
        return received
    if len(expected) != len(received):
        problem = f"expected {', '.join(expected)}, received {', '.join(received)}"
        raise ParityError("names", problem)
    return dict(zip(expected, received.values(), strict=True))


def direction_scores(outputs: Outputs, direction: str | None = None) -> NDArray[np.float32] | None:
    """Return the scores whose maximum chooses the class, or None if no output has them.

    This is the output `direction`, else one with a name of DIRECTION_OUTPUTS, else one of shape
    (batch, 3), preferably one named after logits or probabilities; none for NO_DIRECTION.
    """
    if direction == NO_DIRECTION:
        return None
    for name in (direction or "", *DIRECTION_OUTPUTS):
        if name in outputs and outputs[name].ndim == 2:
            return outputs[name]
    wide = [
        name for name, values in outputs.items() if values.ndim == 2 and values.shape[1] == _CLASSES
    ]
    named = [name for name in wide if "logit" in name.lower() or "prob" in name.lower()]
    return next((outputs[name] for name in (*named, *wide)), None)


def _agreement(expected: Outputs, actual: Outputs, direction: str | None) -> float | None:
    scores, others = direction_scores(expected, direction), direction_scores(actual, direction)
    if scores is None or others is None:
        return None
    return float((scores.argmax(1) == others.argmax(1)).mean())
