"""The selection of the operators that make a file smaller or faster on this machine."""

import logging
from collections.abc import Callable, Collection
from pathlib import Path

from optimization.errors import QuantizationError
from optimization.measurement.timing import LEAST_GAIN, calls_of, measure
from optimization.quantization.quantize import operators_in
from optimization.runtime import OnnxModel, Windows

logger = logging.getLogger(__name__)

_LEAST_SAVING = 0.95
"""The largest share of the FP32 size at which a file counts as smaller."""

_RUNS, _WARM_UP_RUNS = 60, 5


def quantize_if_faster(
    content: bytes,
    source: Path,
    offered: Collection[str],
    quantize: Callable[[Collection[str]], bytes],
    windows: Windows,
    num_threads: int,
) -> bytes:
    """Quantise recurrent layers and matrix products, and convolutions if that is faster.

    Args:
        content: the FP32 model.
        source: its file, for messages.
        offered: the operators that can be quantised.
        quantize: quantises the given operators and returns the model.
        windows: the batch on which the files are timed.
        num_threads: the number of threads of the timed models.

    Raises:
        QuantizationError: the file would be neither smaller nor faster, or only convolutions could
            be quantised and they would be slower.
    """
    present = operators_in(content, source) & set(offered)
    first = sorted(present - {"Conv"})
    files = {"fp32": content}
    if "Conv" in present:
        files["with"] = quantize(sorted(present))
        try:
            files["without"] = quantize(first) if first else content
        except QuantizationError:
            # For example, only products of two activations, which have no weights to quantise.
            files["without"] = content
    else:
        files["without"] = quantize(first or sorted(offered))
    models = {name: OnnxModel(file, num_threads, source) for name, file in files.items()}
    timings = measure(calls_of(models, windows), len(windows), _RUNS, _WARM_UP_RUNS)
    medians_ms = {name: timing.median_ms for name, timing in timings.items()}
    if "with" in files:
        gain = medians_ms["without"] / medians_ms["with"]
        logger.info("%s: with INT8 convolutions it is %.2f times as fast", source, gain)
        if gain > LEAST_GAIN:
            return files["with"]
        if files["without"] is content:
            problem = (
                f"only its convolutions can be quantised, which make it {gain:.2f} times as fast"
            )
            raise _not_faster(source, problem)
    gain = medians_ms["fp32"] / medians_ms["without"]
    share = len(files["without"]) / len(content)
    if gain <= LEAST_GAIN and share > _LEAST_SAVING:
        raise _not_faster(source, f"INT8 makes it {gain:.2f} times as fast, {share:.2f} the size")
    if gain <= LEAST_GAIN:
        logger.warning(
            "%s: INT8 makes it smaller but not faster: %.2f of the size, %.2f times as fast on "
            "this machine",
            source,
            share,
            gain,
        )
    return files["without"]


def _not_faster(source: Path, measured: str) -> QuantizationError:
    problem = f"quantising it gains nothing on this machine: {measured}"
    return QuantizationError(source, f"{problem}; pass operators=... to quantise it regardless")
