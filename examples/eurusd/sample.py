"""Writes a held-out window as the body of a request.

    python -m examples.eurusd.sample
    curl -H 'Content-Type: application/json' -d @examples/eurusd/sample_request.json \\
        http://localhost:8001/api/ml/predict
"""

import json
from pathlib import Path

from examples.eurusd.data import SYMBOL, load_bars
from examples.eurusd.dataset import make_samples, split_samples
from features import Bars

SAMPLE_FILE = Path(__file__).with_name("sample_request.json")
_DIGITS = 5


def render_sample(bars: Bars) -> str:
    """Return the first test window as JSON: flat features in row order, one bar per line."""
    window = split_samples(make_samples(bars)).test.windows[0]
    lines = [", ".join(json.dumps(round(float(value), _DIGITS)) for value in row) for row in window]
    features = ",\n".join(lines)
    return f'{{"symbol": {json.dumps(SYMBOL)}, "features": [\n{features}\n]}}\n'


def main() -> None:
    """Write the sample beside this module."""
    SAMPLE_FILE.write_text(render_sample(load_bars()))
    print(f"Wrote {SAMPLE_FILE.name}.")


if __name__ == "__main__":
    main()
