"""A server continues from the serving state that release 0.1.0 wrote."""

import pytest

from serve_app.state.serving import read_state
from tests.upgrade.present_form import present, present_metadata, present_settings

PRODUCTION, TREATMENT = "hybrid_cnn_lstm:1.0.0", "hybrid_cnn_lstm:1.10.0"


@pytest.fixture
def state(registry_folder):
    path = registry_folder / ".serving-trading-models.json"
    return read_state(path.read_bytes(), path)


def test_versions(state, old):
    """Every version keeps its metadata, its settings, and those of its running replicas."""
    found = {
        str(version.ref): {
            "metadata": version.metadata.model_dump(mode="json"),
            "settings": version.settings.model_dump(mode="json"),
            "launched": version.launched and version.launched.model_dump(mode="json"),
            "leaving": version.leaving,
            "is_pinned": state.is_pinned(version),
        }
        for version in state.versions
    }
    expected = {
        name: {**version, "metadata": present_metadata(version["metadata"])}
        for name, version in present(old["versions"]).items()
    }
    assert found == expected
    assert list(found) == list(old["versions"])


def test_no_replica_restarts(state):
    """No replica needs a restart: each launched version runs with its present settings."""
    launched = [version for version in state.versions if version.launched is not None]
    assert len(launched) == 3
    assert [version.launched for version in launched] == [version.load for version in launched]


def test_stages(state, old):
    """The present and the desired version of each stage are unchanged."""
    assert state.stages == old["stages"]
    assert state.targets == old["targets"]
    assert state.revision == old["revision"]


def test_settings(state, old):
    """The declared settings keep their values, key by key."""
    assert state.settings.model_dump(mode="json") == present_settings(old["settings"])


def test_experiments(state, old):
    """The running experiment continues at its exposure step."""
    (running,) = state.experiments
    (expected,) = old["experiments"]
    found = running.model_dump(mode="json")
    assert found == present(expected)
    assert running.treatment_share == 0.1
    assert {str(ref) for ref in running.refs} == {PRODUCTION, TREATMENT}


def test_routing_table(state):
    """The routing table has the experiment, the stages and the pinned versions."""
    table = state.routing_table()
    assert table.stages == state.stages
    assert set(table.experiments) == {"hybrid_cnn_lstm"}
    assert {str(ref) for ref in table.pinned} == {
        PRODUCTION, TREATMENT, "hybrid_cnn_lstm:1.1.0"
    }  # fmt: skip
