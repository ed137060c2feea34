"""Which operators to quantise: those that make the file smaller or faster on this machine."""

import logging
from collections.abc import Callable, Collection
from pathlib import Path

from optimization.errors import QuantizationError
from optimization.measurement.timing import LEAST_GAIN, measure
from optimization.operations import calls_of
from optimization.quantization.quantize import operators_in
from optimization.runtime import OnnxModel, Windows

logger = logging.getLogger(__name__)

_LEAST_SAVING = 0.95
"""Of the size; above it a file is no smaller."""

_RUNS, _WARM_UP_RUNS = 60, 5


def quantize_if_faster(
    content: bytes,
    source: Path,
    offered: Collection[str],
    quantize: Callable[[Collection[str]], bytes],
    windows: Windows,
    num_threads: int,
) -> bytes:
    """Quantise recurrent layers and matrix products, and convolutions where that is faster.

    Raises:
        QuantizationError: what could be quantised makes the file neither smaller nor faster, or
            it is convolutions alone and they get slower.
    """
    present = operators_in(content, source) & set(offered)
    first = sorted(present - {"Conv"})
    files = {"fp32": content}
    if "Conv" in present:
        files["with"] = quantize(sorted(present))
        try:
            files["without"] = quantize(first) if first else content
        except QuantizationError:
            # Only products of two activations, say, which have no weights to quantise.
            files["without"] = content
    else:
        files["without"] = quantize(first or sorted(offered))
    models = {name: OnnxModel(each, num_threads, source) for name, each in files.items()}
    timings = measure(calls_of(models, windows), len(windows), _RUNS, _WARM_UP_RUNS)
    medians_ms = {name: timing.median_ms for name, timing in timings.items()}
    if "with" in files:
        gain = medians_ms["without"] / medians_ms["with"]
        logger.info("%s: INT8 convolutions make it %.2f times as fast", source, gain)
        if gain > LEAST_GAIN:
            return files["with"]
        if files["without"] is content:
            problem = f"it could be quantised in convolutions alone, which make it {gain:.2f}"
            raise _not_worth_it(source, f"{problem} times as fast")
    gain = medians_ms["fp32"] / medians_ms["without"]
    share = len(files["without"]) / len(content)
    if gain <= LEAST_GAIN and share > _LEAST_SAVING:
        raise _not_worth_it(source, f"INT8 makes it {gain:.2f} times as fast, {share:.2f} the size")
    if gain <= LEAST_GAIN:
        logger.warning(
            "%s: INT8 makes it smaller, %.2f of the size, but not faster: %.2f times as fast on "
            "this machine",
            source,
            share,
            gain,
        )
    return files["without"]


def _not_worth_it(source: Path, measured: str) -> QuantizationError:
    problem = f"nothing in it is worth quantising on this machine: {measured}"
    return QuantizationError(source, f"{problem}; pass operators=... to do it all the same")
