"""The OpenAPI document describes the real behaviour: schemathesis generates requests from it."""

import pytest
import schemathesis
from hypothesis import given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from serve_app.api.rest.app import build_rest_api
from serve_app.settings import RouterSettings
from tests.serve_app.core import core

pytestmark = pytest.mark.slow

SETTINGS = RouterSettings(max_body_bytes=1_000_000, hosts=("testserver",))


def rejection(context, response, case):
    """Require an error for an invalid body; 413 is one, for a list that is too long."""
    return None if response.status_code == 413 else negative_data_rejection(context, response, case)


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    rejection,
    unsupported_method,
]


def send_requests(operation, mode):
    """Send generated requests of one operation, and check the responses."""
    # A batch with an invalid request is valid, as are bars with an invalid one: it fails alone.
    is_batch = operation.path in ("/api/ml/predict/batch", "/api/ml/bars")
    checks = [check for check in CHECKS if check != rejection or not is_batch]

    @settings(max_examples=20, deadline=None, derandomize=True, database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def send(case):
        case.call_and_validate(checks=checks)

    send()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_responses_are_those_of_the_document(control, mode):
    """Valid and invalid requests have documented statuses, types and bodies."""
    api = build_rest_api(core().services, SETTINGS, dict, lambda path, status: None, control)
    for operations in api.openapi()["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)  # this server has no tokens
            # A generated deadline may pass, and the status is then 504.
            parameters = operation.get("parameters", [])
            operation["parameters"] = [one for one in parameters if one["name"] != "X-Deadline-Ms"]
    for found in schemathesis.openapi.from_asgi("/openapi.json", api).get_all_operations():
        operation = found.ok()
        if operation.path == "/api/ml/stream":
            continue  # its responses never end
        if operation.body or mode is GenerationMode.POSITIVE:  # without a body all is valid
            send_requests(operation, mode)
