"""The search for the best file: make each variant, evaluate it, time those within tolerance."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from optimization.arguments import check_count
from optimization.errors import InvalidInputError, OptimizationError, ParityError
from optimization.measurement.batch_dependence import (
    BATCH,
    BatchDependence,
    measure_batch_dependence,
)
from optimization.measurement.machine import usable_cores
from optimization.measurement.parity import Parity, Tolerance, compare_outputs, run_all
from optimization.measurement.timing import Timing, calls_of, measure
from optimization.measurement.windows import LEAST_WINDOWS, Evaluation, affordable, fitted
from optimization.progress import Report, silent
from optimization.runtime import OnnxModel, Outputs, load_graph
from optimization.search.pareto import Candidate, Goal, pareto_front, recommend
from optimization.search.variants import ORIGINAL, Variant, list_variants

_LEAST_RUNS, _WARM_UP_RUNS = 5, 3
_LEAST_NOISE = 32
"""The least number of windows of noise; with noise no quantised file is recommended anyway."""

_NO_SPREAD = 1e-5
"""The share of an output's largest element below which the output does not vary."""

_EVALUATION_SHARE = 0.02
"""The share of the budget for one run of the model on the windows of the evaluation."""

_TIMING_SHARE = 0.5
"""The share of the budget that is reserved for timing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """The goal of a search, its budget and its measurements."""

    goal: Goal = Goal.LATENCY
    budget_s: float = 60.0
    """Ends the making and timing of files; the measurements until then count."""
    tolerance: Tolerance = field(default_factory=Tolerance)
    serving_threads: int = 1
    """The number of threads with which the server runs the model (`num_threads`)."""
    threads: tuple[int, ...] | None = None
    """The additional numbers of threads to time; None means the machine's cores."""
    batches: tuple[int, ...] = (1, 8, 32)
    """The batch sizes to time; 1 is always included."""
    runs: int = 300
    """The maximum number of timed calls per variant, batch size and number of threads."""
    allow_batch_dependence: bool = False
    """Whether a file may be recommended whose outputs depend on the rest of the batch."""

    def __post_init__(self) -> None:
        if not 0 < self.budget_s < float("inf"):
            raise InvalidInputError("budget_s", "a number above 0", repr(self.budget_s))
        for name in ("threads", "batches"):
            for value in getattr(self, name) or ():
                check_count(name, value, least=1)
        check_count("serving_threads", self.serving_threads, least=1)
        check_count("runs", self.runs, least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedVariant:
    """A variant that was made and evaluated, and timed unless it was refused."""

    variant: Variant
    content: bytes
    parity: Mapping[str, Parity]
    """The differences from FP32: `alone` one window at a time, `batched` 32 at a time."""
    batch_dependence: BatchDependence
    refused: str | None
    """States why the outputs exceed the tolerance; None if they do not."""
    timings: Mapping[tuple[int, int], Timing] = field(default_factory=dict)
    """The timings by (number of threads, batch size)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The result of a search."""

    settings: SearchSettings
    evaluation: Evaluation
    evaluated: Mapping[str, EvaluatedVariant]
    skipped: Mapping[str, str]
    """The reason by name, for each variant that was not made and each cell that was not timed."""
    front: tuple[Candidate, ...]
    """The files that no other file dominates in latency, throughput, size and error."""
    recommended: Candidate
    why: str
    spent_s: float

    @property
    def chosen(self) -> EvaluatedVariant:
        """Return the recommended variant."""
        return self.evaluated[self.recommended.name]


def search(
    content: bytes,
    path: Path,
    evaluation: Evaluation,
    settings: SearchSettings | None = None,
    report: Report = silent,
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """Find the best file for a goal within a time budget; nothing is written.

    Args:
        content: the FP32 ONNX model, whose outputs are the reference.
        path: its name, for messages.
        evaluation: the windows for calibration and evaluation.
        settings: the goal, the budget and the tolerance.
        report: receives the progress.
        clock: a monotonic clock in seconds.

    Raises:
        InvalidModelError: the model does not load.
        InvalidInputError: the model does not run on these windows.
        ParityError: the outputs of the FP32 model are not numbers, or depend on the batch.
    """
    settings = settings or SearchSettings()
    start = clock()
    load_graph(content, path)
    original = OnnxModel(content, name=path)
    evaluation = _affordable(original, _fitted(evaluation, original), settings.budget_s, clock)
    reference = run_all(original, evaluation.windows, batch=1)
    evaluated: dict[str, EvaluatedVariant] = {}
    skipped: dict[str, str] = dict(_UNSUPPORTED)
    variants = list(list_variants(content, path, evaluation.calibration))
    for number, variant in enumerate(variants):
        spent = clock() - start
        if evaluated and spent > settings.budget_s * _TIMING_SHARE:
            skipped[variant.name] = "the budget was spent before it was made"
            continue
        report(f"making {variant.name}", _TIMING_SHARE * number / len(variants))
        try:
            made = variant.make()
            if (same := _same_file(made, evaluated)) is not None:
                skipped[variant.name] = f"the same file as {same}"
                continue
            evaluated[variant.name] = _evaluate(
                variant, made, path, reference, evaluation, settings.tolerance
            )
        except OptimizationError as error:
            if variant.name == ORIGINAL:
                raise
            skipped[variant.name] = str(error)
    if (refusal := evaluated[ORIGINAL].refused) is not None:
        raise ParityError("repeated runs of the FP32 model", refusal)
    timings = _time(
        evaluated, evaluation, settings, skipped, report, clock, start + settings.budget_s
    )
    evaluated = {
        name: replace(variant, timings=timings.get(name, {})) for name, variant in evaluated.items()
    }
    front, recommended, why = _choose(evaluated, evaluation, settings)
    return Search(
        settings=settings,
        evaluation=evaluation,
        evaluated=evaluated,
        skipped=skipped,
        front=tuple(front),
        recommended=recommended,
        why=why,
        spent_s=clock() - start,
    )


_UNSUPPORTED = {
    "fp16": "ONNX Runtime's CPU provider has no half-precision kernels; fp16-weights computes in "
    "single precision",
    "bf16": "ONNX Runtime's CPU provider has no bfloat16 kernels on this kind of processor",
}


def _same_file(content: bytes, evaluated: Mapping[str, EvaluatedVariant]) -> str | None:
    """Return the name of an evaluated variant with the same content, else None."""
    return next((name for name, other in evaluated.items() if other.content == content), None)


def _fitted(evaluation: Evaluation, model: OnnxModel) -> Evaluation:
    """Return the windows as flat rows if the model takes flat rows."""
    shape = model.input_shape[1:]
    return replace(
        evaluation,
        calibration=fitted(evaluation.calibration, shape),
        windows=fitted(evaluation.windows, shape),
    )


def _affordable(
    model: OnnxModel, evaluation: Evaluation, budget_s: float, clock: Callable[[], float]
) -> Evaluation:
    """Choose fewer windows, evenly spaced, for a slow model, so that time remains for timing."""
    windows = evaluation.windows
    least = LEAST_WINDOWS if evaluation.is_real else _LEAST_NOISE
    count = affordable(model, windows, budget_s * _EVALUATION_SHARE, least, clock)
    if count >= len(windows):
        return evaluation
    chosen = np.linspace(0, len(windows) - 1, count).astype(int)
    return replace(evaluation, windows=np.ascontiguousarray(windows[chosen]))


def _evaluate(
    variant: Variant,
    content: bytes,
    path: Path,
    reference: Outputs,
    evaluation: Evaluation,
    tolerance: Tolerance,
) -> EvaluatedVariant:
    model = OnnxModel(content, name=f"{path} as {variant.name}")
    parity = {
        "alone": compare_outputs(
            reference, run_all(model, evaluation.windows, 1), evaluation.direction
        ),
        "batched": compare_outputs(
            reference, run_all(model, evaluation.windows, BATCH), evaluation.direction
        ),
    }
    refused = None
    try:
        for measured in parity.values():
            tolerance.check(measured)
    except ParityError as error:
        refused = str(error)
    return EvaluatedVariant(
        variant=variant,
        content=content,
        parity=parity,
        batch_dependence=measure_batch_dependence(model, evaluation.windows, evaluation.direction),
        refused=refused,
    )


def _time(
    evaluated: Mapping[str, EvaluatedVariant],
    evaluation: Evaluation,
    settings: SearchSettings,
    skipped: dict[str, str],
    report: Report,
    clock: Callable[[], float],
    deadline: float,
) -> dict[str, dict[tuple[int, int], Timing]]:
    """Time the variants within tolerance, interleaved per cell; the deciding cells come first."""
    accepted = [name for name, variant in evaluated.items() if variant.refused is None]
    timings: dict[str, dict[tuple[int, int], Timing]] = {name: {} for name in accepted}
    cells = _cells(settings)
    models: dict[int, dict[str, OnnxModel]] = {}
    for number, (threads, batch) in enumerate(cells):
        left = deadline - clock()
        is_needed = (threads, batch) == (settings.serving_threads, 1)
        if left <= 0 and not is_needed:
            skipped[f"{threads} threads, batch {batch}"] = (
                "the budget was spent before it was timed"
            )
            continue
        report(
            f"timing batch {batch}, {threads} thread{'s' * (threads > 1)}",
            _TIMING_SHARE + (1 - _TIMING_SHARE) * number / len(cells),
        )
        if threads not in models:
            models[threads] = {
                name: OnnxModel(evaluated[name].content, threads, name) for name in accepted
            }
        windows = evaluation.windows[[index % len(evaluation.windows) for index in range(batch)]]
        until = clock() + max(left, 0) / (len(cells) - number)

        def goes_on(done: int, until: float = until) -> bool:
            return done < _LEAST_RUNS or clock() < until

        calls = calls_of(models[threads], windows)
        measured = measure(calls, batch, settings.runs, _WARM_UP_RUNS, goes_on)
        for name, timing in measured.items():
            timings[name][threads, batch] = timing
    return timings


def _cells(settings: SearchSettings) -> list[tuple[int, int]]:
    """Return (threads, batch) in the order of timing."""
    others = settings.threads if settings.threads is not None else (usable_cores(),)
    threads = dict.fromkeys([settings.serving_threads, *others])
    return [(thread, batch) for thread in threads for batch in sorted({1, *settings.batches})]


def _choose(
    evaluated: Mapping[str, EvaluatedVariant], evaluation: Evaluation, settings: SearchSettings
) -> tuple[list[Candidate], Candidate, str]:
    accepted = {name: variant for name, variant in evaluated.items() if variant.refused is None}
    candidates = [_candidate(variant, settings.serving_threads) for variant in accepted.values()]
    independent = [
        candidate
        for candidate in candidates
        if settings.allow_batch_dependence or not accepted[candidate.name].batch_dependence.depends
    ]
    weakness = _weakness(evaluated[ORIGINAL], evaluation)
    eligible = [
        candidate
        for candidate in independent
        if weakness is None or not accepted[candidate.name].variant.is_quantized
    ]
    # FP32 is the reference, so it is within the tolerance by definition.
    eligible = eligible or [candidate for candidate in candidates if candidate.name == ORIGINAL]
    recommended = recommend(eligible, settings.goal)
    why = f"best for {settings.goal} among the files within the tolerance"
    if len(independent) < len(candidates):
        why += " whose outputs do not depend on the batch"
    if weakness is not None:
        why += f"; {weakness} no quantised file is recommended"
    front = pareto_front(candidates)
    # A candidate within TIE of the recommended one in all figures may hold its place on the front.
    return [*front, *([] if recommended in front else [recommended])], recommended, why


def _weakness(original: EvaluatedVariant, evaluation: Evaluation) -> str | None:
    """Return why the windows cannot qualify a quantised file, or None if they can."""
    if not evaluation.is_real:
        return "without real windows"
    different = len({window.tobytes() for window in evaluation.windows})
    if different < LEAST_WINDOWS:
        return f"with {different} different windows to evaluate on, fewer than {LEAST_WINDOWS},"
    parity = original.parity["alone"]
    limits = {name: _NO_SPREAD * largest for name, largest in parity.largest.items()}
    if all(spread <= limits[name] for name, spread in parity.spread.items()):
        return "since the outputs do not vary between the windows"
    return None


def _candidate(variant: EvaluatedVariant, threads: int) -> Candidate:
    timings = {
        batch: timing for (used, batch), timing in variant.timings.items() if used == threads
    }
    return Candidate(
        name=variant.variant.name,
        latency_ms=timings[1].median_ms,
        throughput=max(timing.throughput for timing in timings.values()),
        size_bytes=len(variant.content),
        error=max(parity.max_relative_difference for parity in variant.parity.values()),
    )
