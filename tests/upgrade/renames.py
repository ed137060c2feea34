"""The values that release 0.1.0 stored, under the names that their keys have now."""

RENAMED = {
    "crowded_wait_timeout_s": "busy_wait_timeout_s",
    "exposure_stages": "exposure_steps",
    "stage_hours": "exposure_step_hours",
}
"""The present name of a JSON key by its old one, where the two differ."""


def renamed(document):
    """Return a JSON value with the present names of its keys; nothing else is changed."""
    if isinstance(document, dict):
        return {RENAMED.get(name, name): renamed(value) for name, value in document.items()}
    if isinstance(document, list):
        return [renamed(value) for value in document]
    return document
