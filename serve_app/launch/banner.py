"""The addresses of a server, and the message with which it starts to serve."""

import shlex
from pathlib import Path

from serve_app.launch.config import ServeConfig

HEALTH_PATH = "/api/ml/health"
SAMPLE_REQUEST = Path("examples/eurusd/sample_request.json")
"""Below the folder of the configuration."""


def banner(config: ServeConfig, logs: Path) -> str:
    """Return the message of a healthy server: its address, a sample call and how to stop it."""
    host = "localhost" if config.host in {"0.0.0.0", "127.0.0.1", "::"} else config.host  # noqa: S104
    url = f"http://{_in_url(host)}:{config.port}"
    sample = config.path.parent / SAMPLE_REQUEST
    if sample.is_file():
        call = (
            f"curl -s {url}/api/ml/predict -H 'Content-Type: application/json' "
            f"-d @{shlex.quote(str(sample))}"
        )
    else:
        call = f"curl -s {url}{HEALTH_PATH}"
    return f"\nServing on {url}\nTry it:  {call}\nLogs:    {logs}\nStop it: Ctrl-C\n"


def local_url(config: ServeConfig) -> str:
    """Return the URL at which a program on this machine reaches the server."""
    host = "127.0.0.1" if config.host in {"0.0.0.0", "::"} else _in_url(config.host)  # noqa: S104
    return f"http://{host}:{config.port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
