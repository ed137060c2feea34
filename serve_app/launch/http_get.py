"""HTTP requests of the launcher to a server on this machine."""

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from types import MappingProxyType
from urllib.error import HTTPError, URLError

REQUEST_TIMEOUT_S = 2.0

# Ignores the proxies of the environment, since the server is on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a request."""

    status: int
    body: bytes


def http_get(
    url: str,
    headers: Mapping[str, str] = MappingProxyType({}),
    timeout_s: float = REQUEST_TIMEOUT_S,
) -> Response | None:
    """Return the response to a GET, whatever its status; None without one within the timeout."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - always http
    try:
        with _opener.open(request, timeout=timeout_s) as response:
            return Response(response.status, response.read())
    except HTTPError as error:
        try:
            with error:
                return Response(error.code, error.read())
        except (HTTPException, OSError):
            return None
    except (URLError, HTTPException, OSError):
        return None
