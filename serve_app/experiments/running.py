"""A running experiment as the routers see it: its definition and treatment's current share."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from serve_app.experiments.assignment import assign, unit_of
from serve_app.experiments.definition import ExperimentDefinition, Mode
from serve_app.experiments.records import Variant
from serve_app.versions import VersionRef


class RunningExperiment(BaseModel):
    """An experiment that routes traffic; frozen, so that all routers hold equal copies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    definition: ExperimentDefinition
    treatment_share: float
    """Treatment's current share of the requests; before the last exposure step it is less than the
    definition's `treatment_traffic`."""
    exposed_at: AwareDatetime
    """The time when the current share was set."""

    @property
    def experiment_id(self) -> str:
        """The experiment's id."""
        return self.definition.experiment_id

    @property
    def refs(self) -> frozenset[VersionRef]:
        """The versions of both variants."""
        definition = self.definition
        return frozenset(
            (
                VersionRef(definition.control_model_name, definition.control_model_version),
                VersionRef(definition.treatment_model_name, definition.treatment_model_version),
            )
        )

    @property
    def mirrors(self) -> bool:
        """Whether both variants receive every request."""
        return self.definition.mode is Mode.MIRROR

    def variant_of(
        self, prediction_id: str, unit_id: str | None, symbol: str, time: datetime
    ) -> Variant:
        """Return the variant of a request; every router returns the same one."""
        unit = unit_of(
            self.definition,
            prediction_id=prediction_id,
            unit_id=unit_id,
            symbol=symbol,
            time=time,
        )
        return assign(self.definition, unit, self.treatment_share)
