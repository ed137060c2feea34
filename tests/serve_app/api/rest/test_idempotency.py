"""The key by which a client repeats a command."""

import pytest

from tests.serve_app.api.rest.bodies import check_error

RELOAD, CREATE = "/api/ml/models/reload", "/api/ml/ab-test/create"
DEFINITION = {
    "experiment_id": "a_b",
    "control_model_name": "toy",
    "control_model_version": "1.0.0",
    "treatment_model_name": "toy",
    "treatment_model_version": "1.1.0",
}


@pytest.mark.parametrize(("path", "body"), [(RELOAD, {"model_name": "toy"}), (CREATE, DEFINITION)])
def test_commands_have_their_key(http, fleet, path, body):
    """The fleet receives the key of the header, and none without one."""
    for headers in ({}, {"Idempotency-Key": "0b-1"}):
        assert http.post(path, json=body, headers=headers).status_code == 200
    assert fleet.keys == [None, "0b-1"]


@pytest.mark.parametrize("keys", [[""], ["a b"], ["a" * 129], ["\xe4"], ["a\tb"], ["a", "a"]])
def test_unusable_keys_are_rejected(http, fleet, keys):
    headers = [("Idempotency-Key", key.encode("latin-1")) for key in keys]
    response = http.post(RELOAD, json={"model_name": "toy"}, headers=headers)
    assert "Idempotency-Key: expected" in check_error(response, 422, "invalid_request")["message"]
    assert fleet.keys == []
