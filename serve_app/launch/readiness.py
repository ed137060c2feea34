"""Observes a starting server over HTTP: its health, and the reason of a failure."""

import json
from collections.abc import Mapping
from typing import Any

from serve_app.launch.http_get import http_get


def is_healthy(url: str) -> bool:
    """Return whether a GET of `url` returns 200."""
    response = http_get(url)
    return response is not None and response.status == 200


def is_unhealthy(url: str) -> bool:
    """Return whether a GET of `url` returns 503: the router runs, and cannot serve."""
    response = http_get(url)
    return response is not None and response.status == 503


def application_states(dashboard_url: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the state of every application by name, from Ray's dashboard; {} until it runs.

    Args:
        dashboard_url: the dashboard's address.
        headers: those of `ray_token.request_headers`.
    """
    response = http_get(f"{dashboard_url}/api/serve/applications/", headers)
    if response is None or response.status != 200:
        return {}
    states: Mapping[str, Any] = json.loads(response.body).get("applications", {})
    return states


def failure(states: Mapping[str, Any], is_unhealthy: bool = False) -> tuple[str, str] | None:
    """Return why an application cannot be deployed, as one line and in full; None if none failed.

    Args:
        states: the result of `application_states`.
        is_unhealthy: whether the server rejects requests. Only then does the failure of a version
            count, which is an application `NAME:model:version` separate from NAME.
    """
    for name, state in states.items():
        is_version = any(name.startswith(f"{other}:") for other in states)
        if state["status"] != "DEPLOY_FAILED" or (is_version and not is_unhealthy):
            continue
        # The message of a deployment contains the cause; that of the application names it only.
        deployments = state["deployments"].values()
        failed = [
            deployment["message"]
            for deployment in deployments
            if deployment["status"] == "DEPLOY_FAILED"
        ]
        details = "\n".join(failed) or state["message"]
        lines = [line.strip() for line in details.splitlines() if line.strip()]
        cause = lines[-1] if lines else "Ray reports no reason"
        return f"application {name!r} could not be deployed: {cause}", details
    return None


def partial_failure(states: Mapping[str, Any]) -> str | None:
    """Return the first failure that does not affect the rest, as one line; None without one."""
    for state in states.values():
        for name, deployment in state["deployments"].items():
            lines = [line.strip() for line in deployment["message"].splitlines() if line.strip()]
            if lines and deployment["status"] != "HEALTHY":
                return f"{name} is {deployment['status']}: {lines[-1]}"
    found = failure(states, is_unhealthy=True)
    return found[0] if found else None


def progress(states: Mapping[str, Any]) -> str:
    """Return the status of every application and deployment, as one line."""
    parts = [f"application {name} is {state['status']}" for name, state in states.items()]
    parts += [
        f"deployment {name} is {deployment['status']}"
        for state in states.values()
        for name, deployment in state["deployments"].items()
    ]
    return ", ".join(parts) or "Ray Serve is not running"
