"""The values that release 0.1.0 stored, in the form in which they are read now."""

RENAMED = {
    "crowded_wait_timeout_s": "busy_wait_timeout_s",
    "exposure_stages": "exposure_steps",
    "stage_hours": "exposure_step_hours",
}
"""The present name of a JSON key by its old one, where the two differ."""

ADDED_METADATA = {
    "reference_outputs": [], "derived": {}, "signatures": {}, "derived_signatures": {},
    "input_type": "float32", "feature_set": None,
}  # fmt: skip
"""The fields of a version's metadata that release 0.1.0 did not have, with their values for it."""

ADDED_ROUTER_SETTINGS = {"hosts": [], "max_bodies_bytes": 256_000_000}
ADDED_SETTINGS = {
    "bars": {"database_url": None, "folder": None, "keep_days": None},
    "markets": {"calendars": {}, "symbols": {}},
    "require_signature": [],
    "require_reference_outputs": False,
    "access": {
        "anonymous": False,
        "token_file": None,
        "requests_per_s": 1000,
        "max_concurrent_requests": 256,
    },
}
"""The settings that release 0.1.0 did not have, with their values for a configuration of it."""


def present(document):
    """Return a JSON value with the present names of its keys; nothing else is changed."""
    if isinstance(document, dict):
        return {RENAMED.get(name, name): present(value) for name, value in document.items()}
    if isinstance(document, list):
        return [present(value) for value in document]
    return document


def present_metadata(metadata):
    """Return the metadata of a version as it is read now."""
    return {**metadata, **ADDED_METADATA}


def present_settings(settings):
    """Return the settings of a server as they are read now."""
    router = {**settings["router"], **ADDED_ROUTER_SETTINGS}
    return present({**settings, **ADDED_SETTINGS, "router": router})
