"""The definition of an experiment: frozen, validated as a whole, unknown keys are rejected.

The text under a field states its meaning and the cost of its default.
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
EXPERIMENT_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


def _checked(check: Callable[[object], str]) -> AfterValidator:
    """Return a validator that applies a rule of the registry."""

    def validate(value: str) -> str:
        try:
            return check(value)
        except InvalidNameError as error:
            raise ValueError(str(error)) from error

    return AfterValidator(validate)


Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
Seconds = Annotated[FiniteFloat, Field(ge=0.001, le=3600 * 24 * 366 * 10)]
"""Up to ten years; an analysis would overflow beyond these limits and those below."""
ModelName = Annotated[str, _checked(check_model_name)]
ModelVersion = Annotated[str, _checked(check_version)]


class ExperimentStatus(StrEnum):
    """Whether an experiment still routes traffic. The values are those of the wire."""

    RUNNING = "running"
    COMPLETED = "completed"


class EndReason(StrEnum):
    """Why an experiment ended."""

    STOPPED = "stopped"
    """It was stopped manually before the planned end; only always-valid statistics apply."""
    DURATION = "duration"
    """It reached the planned end; the fixed-horizon test applies too, unless by bot or symbol."""
    PROMOTED = "promoted"
    """Treatment was promoted."""
    ROLLED_BACK = "rolled_back"
    """Treatment was rolled back."""
    SUPERSEDED = "superseded"
    """The promotion was cancelled because production was no longer control's version."""


class Assignment(StrEnum):
    """The unit of assignment: all requests of one unit get the same variant."""

    REQUEST = "request"
    """Each request is a unit: the most evidence per request."""
    UNIT_ID = "unit_id"
    """Each bot is a unit; a request without `unit_id` is a separate unit."""
    SYMBOL = "symbol"
    """Each symbol is a unit; the variants then trade different markets."""
    SWITCHBACK = "switchback"
    """Each symbol is a unit during one block of time: for models whose trades interfere."""


UNIT_ASSIGNMENTS = frozenset({Assignment.UNIT_ID, Assignment.SYMBOL})
"""The assignments under which the variants permanently serve different bots or symbols."""

SERVED = {Assignment.UNIT_ID: "bots", Assignment.SYMBOL: "symbols"}
"""The plural of the unit under each of UNIT_ASSIGNMENTS, for texts."""


class Mode(StrEnum):
    """How requests are distributed."""

    SPLIT = "split"
    """Each request goes to one variant."""
    MIRROR = "mirror"
    """Each request goes to both variants and the bot receives control's response: a paired
    comparison without risk."""


class ExperimentDefinition(BaseModel):
    """An experiment as it was created."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    experiment_id: Annotated[str, Field(pattern=EXPERIMENT_ID)]
    control_model_name: ModelName
    control_model_version: ModelVersion
    treatment_model_name: ModelName
    treatment_model_version: ModelVersion

    control_traffic: Share = 0.9
    treatment_traffic: Share = 0.1
    """The variants' shares of the requests, which sum to 1. They are ignored in mirror mode."""
    duration_hours: Positive = 24.0
    """The planned end, at which the fixed-horizon test is valid, unless by bot or symbol."""
    min_samples: Annotated[PositiveInt, Field(le=10**9)] = 100
    """The number of labelled predictions (successful, with an outcome) that each variant needs
    before a verdict on its accuracy."""
    min_accuracy_improvement: Share = 0.02
    """The difference in accuracy, treatment minus control, that a promotion requires; the
    sequential test is tuned to detect it."""
    max_latency_degradation_ms: Annotated[FiniteFloat, Field(ge=0, le=1e9)] = 2.0
    """The mean latency by which treatment may be slower."""
    confidence_level: Annotated[FiniteFloat, Field(ge=0.5, lt=1)] = 0.95
    """1 - alpha: without an effect a verdict has probability alpha at most, at any number of
    interim looks."""
    assignment: Assignment = Assignment.REQUEST
    auto_apply: bool = False
    """Whether a verdict is applied automatically."""

    mode: Mode = Mode.SPLIT
    salt: Annotated[str, Field(max_length=128, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")] = ""
    """The salt of the assignment's hash; the experiment's id if empty. Two experiments with the
    same salt have the same assignment."""
    switchback_block_s: Seconds | None = None
    """The length of a switchback's block, at least the horizon; required for a switchback and
    rejected otherwise."""
    horizon_s: Seconds | None = None
    """The time for which a position is held. Outcomes closer in time than this share market moves,
    so blocks are at least this long. None: the mean delay between prediction and outcome is
    used."""
    periods_per_year: Annotated[FiniteFloat, Field(gt=0, le=1e12)] | None = None
    """The number of horizons per trading year, by which the Sharpe ratio is annualised. None:
    365.25 days over `horizon_s`; without either, the ratio is per prediction."""
    dead_band: Annotated[FiniteFloat, Field(ge=0, le=1000)] = 0.0
    """The market's absolute return up to which HOLD is correct; the same for both variants."""
    exposure_steps: tuple[Share, ...] = ()
    """Treatment's share in each exposure step; the last one is `treatment_traffic`. Example: (0.01,
    0.05, 0.1, 0.25, 0.5). Empty: `treatment_traffic` from the start."""
    exposure_step_hours: Positive = 1.0
    """The minimum duration of an exposure step."""
    max_accuracy_drop: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.05
    """Treatment is rolled back if its accuracy is significantly lower, and by more than this."""
    max_error_rate_ratio: Annotated[FiniteFloat, Field(ge=1, le=1e6)] = 1.5
    """Treatment is rolled back if its error rate is significantly more than this many times
    control's."""
    max_error_rate_increase: Annotated[FiniteFloat, Field(gt=0, le=1)] = 0.01
    """A promotion requires that treatment's error rate is significantly less than this above
    control's."""

    @field_validator("exposure_steps")
    @classmethod
    def _ascend(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        if any(share <= 0 for share in steps) or list(steps) != sorted(set(steps)):
            raise ValueError(
                f"expected shares above 0, each larger than the last, received {steps}"
            )
        return steps

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
                f"assignment {self.assignment} with mode mirror: both variants receive every "
                f"request; omit assignment"
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
            raise ValueError(
                "assignment switchback needs switchback_block_s, the block's length in seconds"
            )
        if self.switchback_block_s < (self.horizon_s or 0):
            raise ValueError(
                f"switchback_block_s {self.switchback_block_s:g} is shorter than horizon_s "
                f"{self.horizon_s:g}; expected at least the horizon"
            )

    def _check_exposure(self) -> None:
        if not self.exposure_steps:
            return
        if self.mode is Mode.MIRROR or self.assignment is Assignment.SWITCHBACK:
            raise ValueError(
                "exposure_steps cannot be combined with mode mirror, which has no risk, nor with "
                "assignment switchback, whose variants must serve comparable times; omit them"
            )
        if abs(self.exposure_steps[-1] - self.treatment_traffic) > SHARE_TOLERANCE:
            raise ValueError(
                f"the last of exposure_steps is {self.exposure_steps[-1]:g}, expected "
                f"treatment_traffic, {self.treatment_traffic:g}"
            )

    @property
    def control(self) -> str:
        """The control variant as "name:version"."""
        return f"{self.control_model_name}:{self.control_model_version}"

    @property
    def treatment(self) -> str:
        """The treatment variant as "name:version"."""
        return f"{self.treatment_model_name}:{self.treatment_model_version}"

    @property
    def duration_s(self) -> float:
        """The planned duration in seconds."""
        return self.duration_hours * 3600

    @property
    def alpha(self) -> float:
        """The largest probability of a verdict without an effect."""
        return 1 - self.confidence_level

    @property
    def hashed_salt(self) -> str:
        """The salt of the assignment's hash."""
        return self.salt or self.experiment_id

    @property
    def first_share(self) -> float:
        """Treatment's share at the start of the experiment."""
        return self.exposure_steps[0] if self.exposure_steps else self.treatment_traffic

    @property
    def annual_periods(self) -> float | None:
        """The number of horizons per year; None if neither it nor the horizon was stated."""
        if self.periods_per_year is not None:
            return self.periods_per_year
        return None if self.horizon_s is None else SECONDS_PER_YEAR / self.horizon_s
