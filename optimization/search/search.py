"""The search for the best file: make every variant, refuse what is wrong, time what is right."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from optimization.errors import InvalidInputError, OptimizationError, ParityError
from optimization.measurement.batch_dependence import (
    BATCH,
    BatchDependence,
    measure_batch_dependence,
)
from optimization.measurement.machine import usable_cores
from optimization.measurement.parity import Outputs, Parity, Tolerance, compare_outputs, run_all
from optimization.measurement.timing import Timing, check_count, measure
from optimization.measurement.windows import Evaluation, fitted
from optimization.operations import LEAST_WINDOWS, affordable, calls_of
from optimization.progress import Report, silent
from optimization.runtime import OnnxModel, load_graph
from optimization.search.pareto import Candidate, Goal, pareto_front, recommend
from optimization.search.variants import ORIGINAL, Variant, list_variants

_LEAST_RUNS, _WARM_UP_RUNS = 5, 3
_LEAST_NOISE = 32
"""Windows of noise; no quantised file is recommended by them, however many."""

_NO_SPREAD = 1e-5
"""Of an output's largest element, below which it does not vary."""

_JUDGING_SHARE = 0.02
"""Of the budget, for the judged windows to run through the model once."""

_TIMING_SHARE = 0.5
"""Of the budget, kept for timing what has been made by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """What to look for and how long."""

    goal: Goal = Goal.LATENCY
    budget_s: float = 60.0
    """After it no further file is made or timed; what was measured until then counts."""
    tolerance: Tolerance = field(default_factory=Tolerance)
    serving_threads: int = 1
    """With how many threads the server runs the model (`num_threads` of its configuration)."""
    threads: tuple[int, ...] | None = None
    """Numbers of threads to time too; the machine's cores if None."""
    batches: tuple[int, ...] = (1, 8, 32)
    """Batch sizes to time; 1 is always among them."""
    runs: int = 300
    """Calls that are timed at most, of each variant at each batch size and number of threads."""
    allow_batch_dependence: bool = False
    """Whether a file may be recommended whose answers depend on their batch-mates."""

    def __post_init__(self) -> None:
        if not 0 < self.budget_s < float("inf"):
            raise InvalidInputError("budget_s", "a number above 0", repr(self.budget_s))
        for name in ("threads", "batches"):
            for each in getattr(self, name) or ():
                check_count(name, each, least=1)
        check_count("serving_threads", self.serving_threads, least=1)
        check_count("runs", self.runs, least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedVariant:
    """A variant that was made and evaluated, and timed unless it was refused."""

    variant: Variant
    content: bytes
    parity: Mapping[str, Parity]
    """From FP32 alone; `alone` one window at a time, `batched` 32 at a time."""
    batch_dependence: BatchDependence
    refused: str | None
    """Why its answers are not right enough; None where they are."""
    timings: Mapping[tuple[int, int], Timing] = field(default_factory=dict)
    """By (number of threads, batch size)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was found."""

    settings: SearchSettings
    evaluation: Evaluation
    evaluated: Mapping[str, EvaluatedVariant]
    skipped: Mapping[str, str]
    """Why a variant was not made, or a cell not timed, by its name."""
    front: tuple[Candidate, ...]
    """What no other file beats in latency, throughput, size and error at once."""
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
        content: the FP32 ONNX model, by whose answers all others are evaluated.
        path: its name, for messages.
        evaluation: the windows to judge by.
        settings: the goal, the budget and what counts as right.
        report: told what is being done.
        clock: seconds that never go back.

    Raises:
        InvalidModelError: the model does not load.
        InvalidInputError: it does not run on these windows.
        ParityError: it gives something that is no number.
    """
    settings = settings or SearchSettings()
    began = clock()
    load_graph(content, path)
    original = OnnxModel(content, name=path)
    evaluation = _affordable(original, _fitted(evaluation, original), settings.budget_s, clock)
    reference = run_all(original, evaluation.windows, batch=1)
    evaluated: dict[str, EvaluatedVariant] = {}
    skipped: dict[str, str] = dict(_UNSUPPORTED)
    variants = list(list_variants(content, path, evaluation.calibration))
    for number, variant in enumerate(variants):
        spent = clock() - began
        if evaluated and spent > settings.budget_s * _TIMING_SHARE:
            skipped[variant.name] = "no time was left to make it"
            continue
        report(f"making {variant.name}", _TIMING_SHARE * number / len(variants))
        try:
            made = variant.make()
            same = next((name for name, each in evaluated.items() if each.content == made), None)
            if same is not None:
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
        raise ParityError("the FP32 model beside itself", refusal)
    timings = _time(
        evaluated, evaluation, settings, skipped, report, clock, began + settings.budget_s
    )
    evaluated = {
        name: replace(each, timings=timings.get(name, {})) for name, each in evaluated.items()
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
        spent_s=clock() - began,
    )


_UNSUPPORTED = {
    "fp16": "ONNX Runtime's CPU provider has no half-precision kernels; fp16-weights computes in "
    "single precision",
    "bf16": "ONNX Runtime's CPU provider has no bfloat16 kernels on this kind of processor",
}


def _fitted(evaluation: Evaluation, model: OnnxModel) -> Evaluation:
    """Return windows as flat rows where the model takes them so."""
    shape = model.input_shape[1:]
    return replace(
        evaluation,
        calibration=fitted(evaluation.calibration, shape),
        windows=fitted(evaluation.windows, shape),
    )


def _affordable(
    model: OnnxModel, evaluation: Evaluation, budget_s: float, clock: Callable[[], float]
) -> Evaluation:
    """Judge a slow model by fewer windows, evenly chosen, so that judging leaves time to time."""
    windows = evaluation.windows
    least = LEAST_WINDOWS if evaluation.is_real else _LEAST_NOISE
    count = affordable(model, windows, budget_s * _JUDGING_SHARE, least, clock)
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
        for each in parity.values():
            tolerance.check(each)
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
    """Time what was not refused, all variants of a cell in turn; the cells that decide first."""
    right = [name for name, each in evaluated.items() if each.refused is None]
    timings: dict[str, dict[tuple[int, int], Timing]] = {name: {} for name in right}
    cells = _cells(settings)
    models: dict[int, dict[str, OnnxModel]] = {}
    for number, (threads, batch) in enumerate(cells):
        left = deadline - clock()
        is_needed = (threads, batch) == (settings.serving_threads, 1)
        if left <= 0 and not is_needed:
            skipped[f"{threads} threads, batch {batch}"] = "no time was left to measure it"
            continue
        report(
            f"timing batch {batch}, {threads} thread{'s' * (threads > 1)}",
            _TIMING_SHARE + (1 - _TIMING_SHARE) * number / len(cells),
        )
        if threads not in models:
            models[threads] = {
                name: OnnxModel(evaluated[name].content, threads, name) for name in right
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
    """Return (threads, batch) in the order in which they are timed."""
    others = settings.threads if settings.threads is not None else (usable_cores(),)
    threads = dict.fromkeys([settings.serving_threads, *others])
    return [(thread, batch) for thread in threads for batch in sorted({1, *settings.batches})]


def _choose(
    evaluated: Mapping[str, EvaluatedVariant], evaluation: Evaluation, settings: SearchSettings
) -> tuple[list[Candidate], Candidate, str]:
    right = {name: each for name, each in evaluated.items() if each.refused is None}
    candidates = [_candidate(each, settings.serving_threads) for each in right.values()]
    independent = [
        candidate
        for candidate in candidates
        if settings.allow_batch_dependence or not right[candidate.name].batch_dependence.depends
    ]
    weakness = _weakness(evaluated[ORIGINAL], evaluation)
    eligible = [
        each
        for each in independent
        if weakness is None or not right[each.name].variant.is_quantized
    ]
    # FP32 is what all are judged by, so that one is right by definition.
    eligible = eligible or [candidate for candidate in candidates if candidate.name == ORIGINAL]
    recommended = recommend(eligible, settings.goal)
    why = f"best for {settings.goal} among those that are right"
    if len(independent) < len(candidates):
        why += " whatever their batch-mates"
    if weakness is not None:
        why += f"; {weakness} no quantised file is recommended"
    front = pareto_front(candidates)
    # Within TIE of the best on all counts it may have lost its place on the front to another.
    return [*front, *([] if recommended in front else [recommended])], recommended, why


def _weakness(original: EvaluatedVariant, evaluation: Evaluation) -> str | None:
    """Return why the windows say too little of a quantised file; None where they say enough."""
    if not evaluation.is_real:
        return "without real windows"
    different = len({each.tobytes() for each in evaluation.windows})
    if different < LEAST_WINDOWS:
        return f"with {different} different windows to judge by, fewer than {LEAST_WINDOWS},"
    parity = original.parity["alone"]
    if all(each <= _NO_SPREAD * parity.largest[name] for name, each in parity.spread.items()):
        return "since the outputs do not vary between the windows"
    return None


def _candidate(variant: EvaluatedVariant, threads: int) -> Candidate:
    timings = {batch: each for (used, batch), each in variant.timings.items() if used == threads}
    return Candidate(
        name=variant.variant.name,
        latency_ms=timings[1].median_ms,
        throughput=max(timing.throughput for timing in timings.values()),
        size_bytes=len(variant.content),
        error=max(each.max_relative_difference for each in variant.parity.values()),
    )
