"""What an experiment is, as it was created: frozen, checked as a whole, unknown keys refused.

The line under a field says what it means and what its default costs.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from registry.errors import InvalidNameError
from registry.records import check_model_name, check_version

SECONDS_PER_YEAR = 365.25 * 24 * 3600
SHARE_TOLERANCE = 1e-9


def _checked(check: Callable[[object], str]) -> AfterValidator:
    """Return a validator that applies one of the registry's rules."""

    def validate(value: str) -> str:
        try:
            return check(value)
        except InvalidNameError as error:
            raise ValueError(str(error)) from error

    return AfterValidator(validate)


Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]
ModelName = Annotated[str, _checked(check_model_name)]
ModelVersion = Annotated[str, _checked(check_version)]


class ExperimentStatus(StrEnum):
    """Whether an experiment still routes traffic. The values are what goes over the wire."""

    RUNNING = "running"
    COMPLETED = "completed"


class EndReason(StrEnum):
    """Why an experiment no longer runs."""

    STOPPED = "stopped"
    """By hand, before the planned end: only always-valid statistics hold."""
    DURATION = "duration"
    """At the planned end: the fixed-horizon test holds as well, unless by bot or symbol."""
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"
    """To be promoted, when another version than control held production."""


class Assignment(StrEnum):
    """What is assigned to a variant as a whole."""

    REQUEST = "request"
    """Every request on its own: most evidence per request."""
    UNIT_ID = "unit_id"
    """A bot stays in its variant; a request without `unit_id` is assigned on its own."""
    SYMBOL = "symbol"
    """A symbol stays in its variant; the variants then trade different markets."""
    SWITCHBACK = "switchback"
    """A symbol during one block of time: for models whose trades disturb each other."""


UNIT_ASSIGNMENTS = frozenset({Assignment.UNIT_ID, Assignment.SYMBOL})
"""Those under which the variants serve different bots or symbols all along."""

SERVED = {Assignment.UNIT_ID: "bots", Assignment.SYMBOL: "symbols"}
"""What the variants serve different ones of, under UNIT_ASSIGNMENTS."""


class Mode(StrEnum):
    """Who answers."""

    SPLIT = "split"
    """Each request is answered by one variant."""
    MIRROR = "mirror"
    """Both variants see every request, the bot gets control's answer: paired, and without risk."""


class ExperimentDefinition(BaseModel):
    """An experiment as it was created."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    experiment_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    control_model_name: ModelName
    control_model_version: ModelVersion
    treatment_model_name: ModelName
    treatment_model_version: ModelVersion

    control_traffic: Share = 0.9
    treatment_traffic: Share = 0.1
    """Shares of the requests; they sum to 1. Ignored in mirror mode."""
    duration_hours: Positive = 24.0
    """The planned end, where the fixed-horizon test is allowed, unless by bot or symbol."""
    min_samples: PositiveInt = 100
    """Labelled predictions (answered, with an outcome) that each variant needs before any verdict
    on its quality."""
    min_accuracy_improvement: NotNegative = 0.02
    """Treatment's accuracy minus control's that a promotion asks for; also what the sequential
    test is tuned to find."""
    max_latency_degradation_ms: NotNegative = 2.0
    """How much slower, on average, treatment may be."""
    confidence_level: Annotated[FiniteFloat, Field(ge=0.5, lt=1)] = 0.95
    """1 - alpha: no effect leads to a verdict with probability alpha at most, however often one
    looks."""
    assignment: Assignment = Assignment.REQUEST
    auto_apply: bool = False
    """Whether a verdict is carried out without asking."""

    mode: Mode = Mode.SPLIT
    salt: Annotated[str, Field(max_length=128)] = ""
    """What the assignment is hashed with; the experiment's id when empty. Two experiments with the
    same salt assign alike."""
    switchback_block_s: Positive | None = None
    """Length of a switchback's block, at least the horizon; needed there and only there."""
    horizon_s: Positive | None = None
    """How long a position is held. Outcomes closer in time than this share market moves, so blocks
    are at least this long. None: taken from the mean delay between prediction and outcome."""
    periods_per_year: Positive | None = None
    """Horizons in a year of trading, what the Sharpe ratio is annualised by. None: a year of 365.25
    days over `horizon_s`; without that either the ratio is per prediction."""
    dead_band: NotNegative = 0.0
    """HOLD is right when the market's |return| is at most this; the same for both variants."""
    exposure_stages: tuple[Share, ...] = ()
    """Treatment's shares one after the other, the last being `treatment_traffic`; for example
    (0.01, 0.05, 0.1, 0.25, 0.5). Empty: `treatment_traffic` at once."""
    stage_hours: Positive = 1.0
    """How long a stage of exposure lasts at least."""
    max_accuracy_drop: Positive = 0.05
    """Treatment is rolled back when its accuracy is significantly lower, and by more than this."""
    max_error_rate_ratio: Annotated[FiniteFloat, Field(ge=1)] = 1.5
    """Treatment is rolled back when its error rate is shown to be more than this many times
    control's."""
    max_error_rate_increase: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.01
    """A promotion needs evidence that treatment's error rate is less than this above control's."""

    @field_validator("exposure_stages")
    @classmethod
    def _ascend(cls, stages: tuple[float, ...]) -> tuple[float, ...]:
        if any(share <= 0 for share in stages) or list(stages) != sorted(set(stages)):
            raise ValueError(f"expected shares above 0, each larger than the last, got {stages}")
        return stages

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        total = self.control_traffic + self.treatment_traffic
        if abs(total - 1) > SHARE_TOLERANCE:
            raise ValueError(
                f"control_traffic {self.control_traffic:g} and treatment_traffic "
                f"{self.treatment_traffic:g} sum to {total:g}, expected 1; give both"
            )
        if self.control == self.treatment:
            raise ValueError(
                f"control and treatment are both {self.control}, expected two different versions"
            )
        if self.mode is Mode.MIRROR and self.assignment is not Assignment.REQUEST:
            raise ValueError(
                f"assignment {self.assignment} with mode mirror: both variants see every request, "
                f"leave assignment out"
            )
        self._check_switchback()
        self._check_exposure()
        return self

    def _check_switchback(self) -> None:
        if self.assignment is not Assignment.SWITCHBACK:
            if self.switchback_block_s is not None:
                raise ValueError(
                    f"switchback_block_s with assignment {self.assignment}, expected switchback"
                )
            return
        if self.switchback_block_s is None:
            raise ValueError("assignment switchback needs switchback_block_s, the block's seconds")
        if self.switchback_block_s < (self.horizon_s or 0):
            raise ValueError(
                f"switchback_block_s {self.switchback_block_s:g} is shorter than horizon_s "
                f"{self.horizon_s:g}; expected at least the horizon"
            )

    def _check_exposure(self) -> None:
        if not self.exposure_stages:
            return
        if self.mode is Mode.MIRROR or self.assignment is Assignment.SWITCHBACK:
            raise ValueError(
                "exposure_stages do not go with mode mirror, which risks nothing, nor with "
                "assignment switchback, whose variants must not differ in when they answer"
            )
        if abs(self.exposure_stages[-1] - self.treatment_traffic) > SHARE_TOLERANCE:
            raise ValueError(
                f"the last of exposure_stages is {self.exposure_stages[-1]:g}, expected "
                f"treatment_traffic, {self.treatment_traffic:g}"
            )

    @property
    def control(self) -> str:
        """Control as "name:version"."""
        return f"{self.control_model_name}:{self.control_model_version}"

    @property
    def treatment(self) -> str:
        """Treatment as "name:version"."""
        return f"{self.treatment_model_name}:{self.treatment_model_version}"

    @property
    def duration_s(self) -> float:
        """Planned duration in seconds."""
        return self.duration_hours * 3600

    @property
    def alpha(self) -> float:
        """Largest probability of a verdict when there is no effect."""
        return 1 - self.confidence_level

    @property
    def hashed_salt(self) -> str:
        """What the assignment is hashed with."""
        return self.salt or self.experiment_id

    @property
    def first_share(self) -> float:
        """Treatment's share when the experiment begins."""
        return self.exposure_stages[0] if self.exposure_stages else self.treatment_traffic

    @property
    def annual_periods(self) -> float | None:
        """Horizons in a year; None when neither the horizon nor their number was stated."""
        if self.periods_per_year is not None:
            return self.periods_per_year
        return None if self.horizon_s is None else SECONDS_PER_YEAR / self.horizon_s
