"""Whatever is done to a registry in whatever order, it answers as a few dictionaries would."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from registry import ModelStage, errors
from registry.folder import inspection
from tests.registry.forker import open_writer
from tests.registry.model import (
    ADDED,
    RegistryModel,
    apply,
    assert_same,
    snapshot,
    write_sources,
)

VERSIONS = st.sampled_from(["1.0.0", "1.1.0", "1.10.0", "2.0.0-rc.1", "2.0.0", "2.0.0+b.1"])
REFERENCES = VERSIONS | st.sampled_from(["9.9.9", "../1.0.0", "1.0", "latest", "1.0.0\n"])
PRESENT = st.runner().flatmap(lambda machine: st.sampled_from(machine.versions()))
STAGES = st.sampled_from([*ModelStage])
METRICS = st.dictionaries(st.sampled_from(["accuracy", "sharpe", "…"]), st.floats(), max_size=2)


class RegistryMachine(RuleBasedStateMachine):
    """A registry folder beside its model; every change is done to both."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name) / "models"
        self.sources = write_sources(Path(self.folder.name) / "sources")
        self.registry = open_writer(self.root)
        self.model = RegistryModel()
        for version in ("1.0.0", "1.1.0", "1.10.0"):
            self.do("register", version, "a")
            self.do("stage", version, ModelStage.PRODUCTION)

    def teardown(self):
        assert inspection.verify(self.registry) == []
        self.folder.cleanup()

    def do(self, *operation):
        before = self.state()
        expected = self.model.refusal(operation)
        if expected is None:
            apply(self.registry, self.sources, operation)
            return
        with pytest.raises(errors.RegistryError) as caught:
            apply(self.registry, self.sources, operation)
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
        self.registry = open_writer(self.root)

    @invariant()
    def is_as_the_model_says(self):
        assert_same(self.registry, self.model)


@pytest.mark.parametrize("examples", [100, pytest.param(1000, marks=pytest.mark.nightly)])
def test_the_registry_does_what_its_model_does(examples):
    """Versions, stages, metrics, files, history and the kind of every error; 40 changes a time."""
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
