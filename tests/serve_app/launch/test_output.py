"""The output of `serve run` states the dashboard's address and the reason of a failure."""

from serve_app.launch.output import dashboard_url, failure_reason

CONTROLLER = "\x1b[36m(ServeController pid=7)\x1b[0m"
APPLICATION = [
    f"{CONTROLLER} ERROR 2026-11-29 08:14:11,877 controller 7 -- Deploying app 'tiny' failed with "
    f"exception:",
    f"{CONTROLLER} Traceback (most recent call last):",
    f"{CONTROLLER} ray.exceptions.RayTaskError(RuntimeError): \x1b[36mray::build()\x1b[39m (pid=8)",
    f'{CONTROLLER}     raise LookupError("no model here")',
    f"{CONTROLLER} LookupError: no model here",
    f"{CONTROLLER} ",
]
DRIVER = [
    "Traceback (most recent call last):",
    "    raise value",
    "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.",
    "\tclass_name: HAProxyManager",
    "The actor is dead because it was killed by `ray.kill`.",
]


def test_dashboard():
    """The address is found in a line with colours."""
    line = "View the dashboard at \x1b[1m\x1b[32mhttp://127.0.0.1:8265 \x1b[39m\x1b[22m"
    assert dashboard_url(line) == "http://127.0.0.1:8265"
    assert dashboard_url("Started Serve") is None


def test_application():
    """The failure of an application is the reason, also where the driver failed afterwards."""
    reason = "application 'tiny' could not be deployed: LookupError: no model here"
    assert failure_reason(APPLICATION) == reason
    assert failure_reason([*APPLICATION, *DRIVER]) == reason


def test_driver():
    """Without a failed application, the driver's own exception is the reason."""
    assert failure_reason(["INFO Started Serve", *DRIVER]) == (
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task."
    )


def test_no_reason():
    """Other output states no reason."""
    assert failure_reason(["INFO Started Serve", "View the dashboard at nothing"]) is None
    assert failure_reason([]) is None
