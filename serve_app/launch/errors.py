"""The errors of a launch, as one tree.

LaunchError
├── ConfigError         the configuration file is missing or invalid
├── SessionFolderError  Ray's temporary folder is unusable, or open to other users
├── RayTokenError       Ray's token is turned off, unreadable, or open to other users
├── PortTakenError      another process listens on a port that the server requires
├── PortRefusedError    the system does not permit the server to listen on a port
├── StartupError        the server failed, or did not become healthy in time
├── RestartsError       the server fails again and again, or its restart failed
└── StopError           processes of the server survived SIGKILL
"""

from collections.abc import Sequence
from pathlib import Path


class LaunchError(Exception):
    """Base of the errors of a launch."""


class ConfigError(LaunchError):
    """The configuration file is missing, not YAML, or invalid."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        super().__init__(path, tuple(problems))
        self.path, self.problems = path, tuple(problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.path}: {self.problems[0]}"
        return "\n".join([f"{self.path}: {len(self.problems)} problems", *self.problems])


class RayTokenError(LaunchError):
    """Ray's token is turned off, cannot be read or written, or is open to other users."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class SessionFolderError(LaunchError):
    """Ray's temporary folder cannot be used, or is open to other users."""

    def __init__(self, path: Path, expected: str, received: str) -> None:
        super().__init__(path, expected, received)
        self.path, self.expected, self.received = path, expected, received

    def __str__(self) -> str:
        return (
            f"Ray's temporary folder {self.path}: expected {self.expected}, received "
            f"{self.received}; choose a folder that only this user can enter with the environment "
            f"variable RAY_TMPDIR"
        )


class PortTakenError(LaunchError):
    """Another process listens on a port that the server requires."""

    def __init__(self, port: int, purpose: str, setting: str, holder: str, remedy: str) -> None:
        super().__init__(port, purpose, setting, holder, remedy)
        self.port, self.purpose, self.setting = port, purpose, setting
        self.holder, self.remedy = holder, remedy

    def __str__(self) -> str:
        return (
            f"port {self.port} ({self.purpose}) is in use by {self.holder}; {self.remedy}, "
            f"or choose another port with {self.setting}"
        )


class PortRefusedError(LaunchError):
    """The system does not permit the server to listen on a port."""

    def __init__(self, host: str, port: int, purpose: str, setting: str, problem: str) -> None:
        super().__init__(host, port, purpose, setting, problem)
        self.host, self.port, self.purpose = host, port, purpose
        self.setting, self.problem = setting, problem

    def __str__(self) -> str:
        return (
            f"cannot listen on {self.host}:{self.port} ({self.purpose}): {self.problem}; "
            f"choose an address of this machine and a port that this user may open with "
            f"{self.setting}"
        )


class StartupError(LaunchError):
    """The server failed or did not respond; `details` is its output, such as a traceback."""

    def __init__(self, problem: str, details: str = "") -> None:
        super().__init__(problem, details)
        self.problem, self.details = problem, details

    def __str__(self) -> str:
        return self.problem


class RestartsError(LaunchError):
    """A component failed after the most restarts that are allowed, or the restart failed."""

    def __init__(self, fault: str, problem: str, details: str = "") -> None:
        super().__init__(fault, problem, details)
        self.fault, self.problem, self.details = fault, problem, details

    def __str__(self) -> str:
        return f"{self.fault}; {self.problem}"


class StopError(LaunchError):
    """Processes of the server survived SIGKILL."""

    def __init__(self, processes: str) -> None:
        super().__init__(processes)
        self.processes = processes

    def __str__(self) -> str:
        return f"could not end {self.processes}; end them with `kill -9` and check the system log"
