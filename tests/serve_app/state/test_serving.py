"""A stored serving state is read, also one that an older release has written."""

import json
from pathlib import Path

import pytest

from serve_app.errors import ServingStateError
from serve_app.state.serving import ServingState, migrate, read_state

PATH = Path("models/.serving-trading-models.json")
VERSION_1 = (Path(__file__).parent / "serving_v1.json").read_bytes()
"""Two launched versions, a changed wait of a busy router, and a running experiment."""


def test_state_of_schema_version_1_is_read():
    """An upgrade loses nothing of what is served, and starts no replica again."""
    state = read_state(VERSION_1, PATH)
    assert (state.schema_version, state.revision) == (2, 7)
    assert state.stages == {"toy": {"production": "1.0.0", "staging": "1.1.0"}}
    assert state.settings.versions[0].batching.busy_wait_timeout_s == 0.005
    assert [served.settings.batching.busy_wait_timeout_s for served in state.versions] == [
        0.005,
        0.003,
    ]
    assert all(served.launched == served.load for served in state.versions)
    (running,) = state.experiments
    assert (running.experiment_id, running.treatment_share) == ("a_b", 0.1)


def test_migrated_state_differs_only_in_the_renamed_keys():
    after = VERSION_1.decode()
    for old, new in (
        ("crowded_wait_timeout_s", "busy_wait_timeout_s"),
        ("exposure_stages", "exposure_steps"),
        ("stage_hours", "exposure_step_hours"),
    ):
        after = after.replace(old, new)
    expected = {**json.loads(after), "schema_version": 2}
    assert migrate(json.loads(VERSION_1)) == expected
    state = json.loads(read_state(VERSION_1, PATH).model_dump_json())
    assert without_new_keys(state, expected) == expected


def without_new_keys(value, former):
    """Return a JSON value without the keys that a former one does not have in the same place."""
    if isinstance(value, list):
        return [without_new_keys(*pair) for pair in zip(value, former, strict=True)]
    if isinstance(value, dict):
        return {
            key: without_new_keys(item, former[key]) for key, item in value.items() if key in former
        }
    return value


def test_migration_keeps_metadata():
    """The parameters of a training may contain keys that the state has renamed."""
    document = json.loads(VERSION_1)
    params = {"batching": {"crowded_wait_timeout_s": 1}, "definition": {"stage_hours": 2}}
    document["versions"][0]["metadata"]["training_params"] = params
    state = read_state(json.dumps(document).encode(), PATH)
    assert state.versions[0].metadata.training_params == params


def test_written_state_is_read_again():
    state = read_state(VERSION_1, PATH)
    assert read_state(state.model_dump_json().encode(), PATH) == state


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "Invalid JSON"),
        (b"[]", "should be an object"),
        (VERSION_1.replace(b'"schema_version": 1', b'"schema_version": 3'), "schema_version"),
        (
            VERSION_1.replace(b'"schema_version": 1', b'"schema_version": 2'),
            "crowded_wait_timeout_s",
        ),
        (VERSION_1[:-200], "Invalid JSON"),
    ],
)
def test_unreadable_state_is_an_error(content, problem):
    with pytest.raises(ServingStateError, match=problem):
        read_state(content, PATH)


def test_state_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        read_state(VERSION_1, PATH).revision = 9
    assert ServingState.model_config["extra"] == "forbid"
