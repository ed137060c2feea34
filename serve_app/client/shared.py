"""The clients that this process shares."""

from serve_app.client.model_client import ModelClient
from serve_app.client.parameters import DEFAULT_SERVER_URL, check_url


def get_model_client(server_url: str = DEFAULT_SERVER_URL) -> ModelClient:
    """Return this process's client of `server_url`, one per URL.

    >>> get_model_client("http://localhost:8001") is get_model_client("HTTP://LocalHost:8001/")
    True
    """
    server_url = check_url(server_url)
    client = _clients.get(server_url)
    # `setdefault` is atomic: threads that arrive together receive the same client.
    return client or _clients.setdefault(server_url, ModelClient(server_url))


_clients: dict[str, ModelClient] = {}
