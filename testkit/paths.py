"""The locations of the project and of the programs of its environment."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The root of the project's checkout."""

BIN = Path(sys.executable).parent
"""The folder that holds the programs of this Python environment."""
