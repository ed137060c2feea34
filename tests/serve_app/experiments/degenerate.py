"""Small and degenerate experiments as blocks, built from rows."""

from serve_app.experiments.blocks import Block
from serve_app.experiments.records import Variant
from tests.serve_app.experiments.factories import outcome, prediction
from tests.serve_app.experiments.simulation import CLOCK


def build(rows, clock=CLOCK):
    """Return the blocks of rows (second, variant, direction, market return or None, changes)."""
    blocks = {}
    for second, variant, direction, market_return, changes in rows:
        record = prediction(second, variant=variant, direction=direction, **changes)
        key = clock.block(record.time)
        block = blocks.setdefault(key, Block(block=key))
        summary = block.control if variant is Variant.CONTROL else block.treatment
        summary.add_prediction(record)
        if market_return is not None:
            summary.add_outcome(record, outcome(market_return, second + 1), dead_band=0.0)
    return list(blocks.values())


def alternate(count, direction=1, market_return=0.001, **changes):
    """Return rows whose variants alternate, four per second."""
    variants = (Variant.CONTROL, Variant.TREATMENT)
    fields = {"treatment_share": 0.5, **changes}
    return [(n / 4, variants[n % 2], direction, market_return, fields) for n in range(count)]


FAILED = {"error": "prediction_failed"}

DEGENERATE = {
    "nothing": [],
    "one prediction": alternate(1),
    "one of each variant": alternate(2),
    "control alone": alternate(400)[::2],
    "treatment alone": alternate(400)[1::2],
    "no outcome": alternate(400, market_return=None),
    "all right, one class, no variance": alternate(400),
    "all wrong": alternate(400, direction=2),
    "all HOLD": alternate(400, direction=0),
    "the market stands still": alternate(400, market_return=0.0),
    "all failed": alternate(400, direction=None, market_return=None, **FAILED),
    "latency 0": alternate(400, latency_ms=0.0),
    "largest latency": alternate(400, latency_ms=1e9),
    "largest return": alternate(400, market_return=1000.0),
    "all in one second": [(0.5, *row[1:]) for row in alternate(400)],
    "before the start": [(-3600.0, *row[1:]) for row in alternate(10)],
    "a year apart": [*alternate(40), *((3e7 + row[0], *row[1:]) for row in alternate(40))],
}
