"""Settings and evaluations of short searches."""

from optimization.measurement.parity import Tolerance
from optimization.measurement.windows import split_windows
from optimization.search.search import SearchSettings

LOOSE = Tolerance(direction_agreement=0.9, relative=0.5)


def settings(**fields):
    """Return settings of a short search with other fields."""
    return SearchSettings(
        **{
            "budget_s": 60,
            "runs": 40,
            "threads": (),
            "batches": (1, 4),
            "tolerance": LOOSE,
            **fields,
        }
    )


def evaluation(windows, **fields):
    """Return an evaluation on windows."""
    return split_windows(windows, "test", **fields)
