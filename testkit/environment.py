"""The environment in which a user would run a command of the documentation."""

import os

MAKE_VARIABLES = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS")
"""The variables in which make passes its flags to a nested make.

`make test` sets them for every test; a user's shell has none of them.
"""


def shell_environment() -> dict[str, str]:
    """Return this process's environment without the variables of a make that started it."""
    return {name: value for name, value in os.environ.items() if name not in MAKE_VARIABLES}
