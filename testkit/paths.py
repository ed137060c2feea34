"""Where the project and the programs of its environment lie."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The root of the project's checkout."""

BIN = Path(sys.executable).parent
"""The folder that holds the programs of this Python environment."""
