"""Random sequences of changes leave a registry in the state of its reference model."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from registry import ModelStage, errors
from registry.folder import inspection
from tests.registry.crash_harness import open_folder
from tests.registry.reference_model import (
    ADDED,
    ReferenceModel,
    apply,
    assert_same,
    snapshot,
    write_sources,
)

pytestmark = pytest.mark.slow

VERSIONS = st.sampled_from(["1.0.0", "1.1.0", "1.10.0", "2.0.0-rc.1", "2.0.0", "2.0.0+b.1"])
REFERENCES = VERSIONS | st.sampled_from(["9.9.9", "../1.0.0", "1.0", "latest", "1.0.0\n"])
PRESENT = st.runner().flatmap(lambda machine: st.sampled_from(machine.versions()))
STAGES = st.sampled_from([*ModelStage])
METRICS = st.dictionaries(st.sampled_from(["accuracy", "sharpe", "…"]), st.floats(), max_size=2)


class RegistryMachine(RuleBasedStateMachine):
    """A registry folder and its reference model; every change is applied to both."""

    def __init__(self):
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.root = Path(self.temporary.name) / "models"
        self.sources = write_sources(Path(self.temporary.name) / "sources")
        self.folder = open_folder(self.root)
        self.model = ReferenceModel()
        for version in ("1.0.0", "1.1.0", "1.10.0"):
            self.do("register", version, "a")
            self.do("stage", version, ModelStage.PRODUCTION)

    def teardown(self):
        assert inspection.verify(self.folder) == []
        self.temporary.cleanup()

    def do(self, *operation):
        before = self.state()
        expected = self.model.expected_error(operation)
        if expected is None:
            apply(self.folder, self.sources, operation)
            return
        with pytest.raises(errors.RegistryError) as caught:
            apply(self.folder, self.sources, operation)
        assert caught.type is expected
        assert self.state() == before

    def versions(self):
        return list(self.model.stages) or ["1.0.0"]

    def state(self):
        return snapshot(self.root) if self.root.exists() else {}

    @rule(version=REFERENCES, content=st.sampled_from("ab"))
    def register(self, version, content):
        self.do("register", version, content)

    @rule(version=PRESENT | REFERENCES, stage=STAGES)
    def stage(self, version, stage):
        self.do("stage", version, stage)

    @rule(version=PRESENT)
    def promote(self, version):
        self.do("stage", version, ModelStage.PRODUCTION)

    @rule()
    def rollback(self):
        self.do("rollback")

    @rule(version=PRESENT | REFERENCES)
    def retire(self, version):
        self.do("retire", version)

    @rule(version=PRESENT | REFERENCES)
    def delete(self, version):
        self.do("delete", version)

    @rule(version=REFERENCES, metrics=METRICS)
    def update_metrics(self, version, metrics):
        self.do("update_metrics", version, metrics)

    @rule(version=PRESENT | REFERENCES, content=st.sampled_from("ab"))
    def add_artifact(self, version, content):
        self.do("add_artifact", version, content)

    @rule(version=PRESENT | REFERENCES, artifact=st.sampled_from(["model.pt", ADDED]))
    def pin_artifact(self, version, artifact):
        self.do("pin_artifact", version, artifact)

    @rule()
    def reopen(self):
        self.folder = open_folder(self.root)

    @invariant()
    def equals_the_model(self):
        assert_same(self.folder.reader, self.model)


@pytest.mark.parametrize("examples", [100, pytest.param(1000, marks=pytest.mark.nightly)])
def test_registry_equals_reference_model(examples):
    """Versions, stages, metrics, files, history and error classes agree; 40 changes per example."""
    run_state_machine_as_test(
        RegistryMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=examples < 1000,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
