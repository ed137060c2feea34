"""A running experiment as the routers know it: what it is, and treatment's share right now."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from serve_app.experiments.assignment import assign, unit_of
from serve_app.experiments.definition import ExperimentDefinition, Mode
from serve_app.experiments.records import Variant


class RunningExperiment(BaseModel):
    """An experiment that routes traffic; frozen, so that a router's copy is the fleet's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    definition: ExperimentDefinition
    treatment_share: float
    """Of the requests, under staged exposure less than the definition's in the end."""
    exposed_at: AwareDatetime
    """Since when the share is what it is."""

    @property
    def experiment_id(self) -> str:
        """The experiment's name."""
        return self.definition.experiment_id

    @property
    def keys(self) -> frozenset[str]:
        """`model:version` of both variants."""
        return frozenset((self.definition.control, self.definition.treatment))

    @property
    def mirrors(self) -> bool:
        """Whether both variants see every request."""
        return self.definition.mode is Mode.MIRROR

    def variant_of(
        self, prediction_id: str, unit_id: str | None, symbol: str, time: datetime
    ) -> Variant:
        """Return the variant that a request is assigned to; the same in every router."""
        unit = unit_of(
            self.definition,
            prediction_id=prediction_id,
            unit_id=unit_id,
            symbol=symbol,
            time=time,
        )
        return assign(self.definition, unit, self.treatment_share)
