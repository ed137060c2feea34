"""What a server that comes up tells over HTTP: whether it answers, and why it cannot."""

import json
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError

REQUEST_TIMEOUT_S = 2.0

# Without the proxies that the environment may name: the server is on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def answers(url: str) -> bool:
    """Return whether a GET of `url` is answered with 200."""
    return _body(url) is not None


def is_unhealthy(url: str) -> bool:
    """Return whether a GET of `url` is answered with 503: the router is up, and cannot serve."""
    try:
        with _opener.open(url, timeout=REQUEST_TIMEOUT_S):
            return False
    except HTTPError as error:
        return error.code == 503
    except (URLError, HTTPException, OSError):
        return False


def application_states(dashboard_url: str) -> Mapping[str, Any]:
    """Return what Ray's dashboard knows of every application by its name; {} if it is not up."""
    body = _body(f"{dashboard_url}/api/serve/applications/")
    states: Mapping[str, Any] = {} if body is None else json.loads(body).get("applications", {})
    return states


def failure(states: Mapping[str, Any], is_unhealthy: bool = False) -> tuple[str, str] | None:
    """Return why an application cannot be deployed, in a line and in full; None when none failed.

    Args:
        states: as from `application_states`.
        is_unhealthy: whether the server has no answer for a usual request. Only then a version
            that cannot be loaded, an application `NAME:model:version` beside NAME, counts.
    """
    for name, state in states.items():
        is_version = any(name.startswith(f"{other}:") for other in states)
        if state["status"] != "DEPLOY_FAILED" or (is_version and not is_unhealthy):
            continue
        # A deployment's own message holds the cause; the application's then only names it.
        deployments = state["deployments"].values()
        failed = [each["message"] for each in deployments if each["status"] == "DEPLOY_FAILED"]
        details = "\n".join(failed) or state["message"]
        lines = [line.strip() for line in details.splitlines() if line.strip()]
        cause = lines[-1] if lines else "Ray gives no reason"
        return f"application {name!r} could not be deployed: {cause}", details
    return None


def trouble(states: Mapping[str, Any]) -> str | None:
    """Return what fails while the rest may serve, in a line; None when nothing does."""
    for state in states.values():
        for name, deployment in state["deployments"].items():
            lines = [line.strip() for line in deployment["message"].splitlines() if line.strip()]
            if lines and deployment["status"] != "HEALTHY":
                return f"{name} is {deployment['status']}: {lines[-1]}"
    found = failure(states, is_unhealthy=True)
    return found[0] if found else None


def progress(states: Mapping[str, Any]) -> str:
    """Return where every application and deployment stands, in a line."""
    parts = [f"application {name} is {state['status']}" for name, state in states.items()]
    parts += [
        f"deployment {name} is {deployment['status']}"
        for state in states.values()
        for name, deployment in state["deployments"].items()
    ]
    return ", ".join(parts) or "Ray Serve is not up"


def _body(url: str) -> bytes | None:
    try:
        with _opener.open(url, timeout=REQUEST_TIMEOUT_S) as answer:
            content: bytes = answer.read()
    except (URLError, HTTPException, OSError):
        return None  # not up yet, or an answer other than 2xx
    return content
