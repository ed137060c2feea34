"""What `serve_config.yaml` may say below `args`: frozen, checked as a whole, unknown keys refused.

The line under a field says what its default costs.
"""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from registry.errors import InvalidNameError
from registry.records import check_model_name, check_reference
from serve_app.experiments.circuit_breaker import BreakerSettings


def _checked(check: Callable[[object], str]) -> AfterValidator:
    """Return a validator that applies one of the registry's rules."""

    def validate(value: str) -> str:
        try:
            return check(value)
        except InvalidNameError as error:
            raise ValueError(str(error)) from error

    return AfterValidator(validate)


class _Settings(BaseModel):
    # JSON, in which what is served is written down, has no infinity.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BatchSettings(_Settings):
    """How requests for one version join into one run of its model."""

    max_batch_size: PositiveInt = 32
    """Largest batch; beyond 8 or so a CPU gains nothing more per sample."""

    batch_wait_timeout_s: NonNegativeFloat = 0.0
    """What a lone request pays so that others can join it; keep far below the latency budget."""

    crowded_wait_timeout_s: NonNegativeFloat = 0.003
    """What a request pays instead while eight others are under way in its router. Such a crowd
    reaches the replicas one by one, and a fuller batch gives back more than the wait takes."""


class AutoscalingSettings(_Settings):
    """How many replicas a version has, by how much there is to do."""

    min_replicas: PositiveInt = 1
    """Replicas when nothing happens; each costs about 110 MB."""

    max_replicas: PositiveInt
    """Replicas at the most; beyond the cores of the cluster they only take turns."""

    target_ongoing_requests: PositiveFloat = 8.0
    """Requests in work for one replica, on average; with more of them there are more replicas.
    A lower target answers sooner and costs more."""

    upscale_delay_s: NonNegativeFloat = 5.0
    """How long the load must last before replicas are added; a new one takes about 2 s more."""

    downscale_delay_s: NonNegativeFloat = 300.0
    """How long it must be gone before replicas are taken away."""

    @model_validator(mode="after")
    def _is_a_range(self) -> "AutoscalingSettings":
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas ({self.min_replicas}) must be at most "
                f"max_replicas ({self.max_replicas})"
            )
        return self


class VersionSettings(_Settings):
    """One version of a model and what it may use."""

    model: Annotated[str, _checked(check_model_name)]
    """Name of the model in the registry."""

    version: Annotated[str, _checked(check_reference)] = "production"
    """A semantic version, or `production` or `staging` for the one that holds the stage. The stage
    is looked up when the edited file is deployed and when the model is reloaded. A stage that no
    version holds is left out, with a warning."""

    placement: Literal["replicas", "router"] = "replicas"
    """`replicas`: processes of its own, which can be many and on any node. `router`: inside every
    router, which saves the way to a replica, 0.3 ms a request; for a small model, since while
    it runs its router does nothing else, and each router holds a copy."""

    num_replicas: PositiveInt | None = None
    """Processes that serve this version, 1 by default; each costs about 110 MB."""

    autoscaling: AutoscalingSettings | None = None
    """As many replicas as the load asks for, instead of `num_replicas`."""

    num_cpus: NonNegativeFloat = 0.1
    """Cores that Ray sets aside for each replica when it chooses a node; a share, not a limit."""

    num_gpus: NonNegativeFloat = 0.0
    """GPUs for each replica: a share below 1, or a whole number. Above 0 the model runs on the GPU
    alone, on ONNX Runtime's CUDA provider or on PyTorch."""

    num_threads: PositiveInt = 1
    """Threads of one model run; more help a large model and harm many small requests."""

    max_ongoing_requests: PositiveInt = 64
    """Requests that a replica takes at a time; a batch can be no fuller than this."""

    max_queued_requests: PositiveInt = 256
    """Requests that wait in a router for a replica; more are answered 503 at once."""

    batching: BatchSettings = BatchSettings()

    @property
    def min_replicas(self) -> int:
        """The fewest replicas that the version may have."""
        return self.num_replicas or (self.autoscaling.min_replicas if self.autoscaling else 1)

    @model_validator(mode="after")
    def _lets_a_batch_fill(self) -> "VersionSettings":
        if self.max_ongoing_requests < self.batching.max_batch_size:
            raise ValueError(
                f"max_ongoing_requests ({self.max_ongoing_requests}) must be at least "
                f"batching.max_batch_size ({self.batching.max_batch_size}), "
                f"or a batch can never fill"
            )
        return self

    @model_validator(mode="after")
    def _has_one_number_of_replicas(self) -> "VersionSettings":
        if self.autoscaling is None:
            return self
        if self.num_replicas is not None:
            raise ValueError("expected num_replicas or autoscaling, received both")
        target = self.autoscaling.target_ongoing_requests
        if target > self.max_ongoing_requests:
            raise ValueError(
                f"autoscaling.target_ongoing_requests ({target:g}) must be at most "
                f"max_ongoing_requests ({self.max_ongoing_requests}), "
                f"or there are never enough requests for another replica"
            )
        return self

    @model_validator(mode="after")
    def _fits_its_placement(self) -> "VersionSettings":
        if self.placement == "router":
            # What replicas alone have: a router's own number and resources stand under `router`.
            given = {
                "num_replicas": self.num_replicas is not None,
                "autoscaling": self.autoscaling is not None,
                "num_gpus": self.num_gpus > 0,
            }
            for setting in (name for name, is_given in given.items() if is_given):
                raise ValueError(
                    f"{setting} is for placement: replicas; a version with placement: router runs "
                    f"in every router, whose number and share of the cores stand under `router`"
                )
        return self

    @model_validator(mode="after")
    def _asks_for_a_share_or_whole_gpus(self) -> "VersionSettings":
        if self.num_gpus > 1 and not self.num_gpus.is_integer():
            raise ValueError(
                f"num_gpus: expected a share below 1 or a whole number, received {self.num_gpus:g}"
            )
        return self


class LoadingSettings(_Settings):
    """Versions that the file does not declare: reloaded by name, asked for, or once in a stage."""

    on_demand: bool = False
    """Whether a request that names a registered version loads it: the first answers are 503 with
    Retry-After. Otherwise such a request is answered 404. Lets callers decide what is in memory."""

    max_versions: PositiveInt = 8
    """Most versions that requests may load beyond the declared ones; each costs about 110 MB."""

    unload_idle_s: NonNegativeFloat = 900.0
    """How long such a version stays without a request, for a quick way back; never unloaded are
    those that the file declares, and holders of a stage."""


class RouterSettings(_Settings):
    """The ingress: how many there are and what they accept."""

    num_replicas: PositiveInt = 1
    """Processes that take HTTP requests; one carries several hundred requests a second."""

    num_cpus: NonNegativeFloat = 0.1
    """Cores that Ray sets aside for each router when it chooses a node; a share, not a limit."""

    max_ongoing_requests: PositiveInt = 512
    """Requests in work at a time in one router, predictions apart from all others; more wait."""

    max_body_bytes: PositiveInt = 16_000_000
    """Largest body accepted: a hundred windows of 60 x 110 numbers as JSON."""

    max_batch_requests: PositiveInt = 1024
    """Most requests in one batch body."""

    request_timeout_s: PositiveFloat = 10.0
    """How long a request may wait for its version before it is answered 503."""

    treatment_timeout_s: PositiveFloat = 0.25
    """How long an experiment's treatment may take before control answers in its place."""

    breaker: BreakerSettings = BreakerSettings()
    """When a router takes an experiment's treatment out of the traffic, and tries it again."""


class ExperimentSettings(_Settings):
    """Where predictions and outcomes are kept."""

    database_url: str | None = None
    """`postgresql://user:password@host/database`, or `sqlite:///file`; by default the SQLite file
    `.experiments-<application>.db` in the registry's folder."""

    record_all: bool = True
    """Whether predictions outside experiments are kept too, so that outcomes may come for them;
    about 300 bytes each."""

    keep_days: PositiveFloat = 30.0
    """How long single predictions are kept; what they add to an experiment's figures stays."""


class AppSettings(_Settings):
    """The whole application."""

    registry_root: str = "models"
    """The registry's folder on the head node; relative to where Ray was started."""

    default_model: str | None = None
    """Model of a request that names none; may be left out when only one model is declared."""

    router: RouterSettings = RouterSettings()

    loading: LoadingSettings = LoadingSettings()

    experiments: ExperimentSettings = ExperimentSettings()

    versions: tuple[VersionSettings, ...] = Field(min_length=1)
    """What is served from the start."""

    @property
    def usual_model(self) -> str:
        """The model of a request that names none."""
        return self.default_model or self.versions[0].model

    @model_validator(mode="after")
    def _answers_in_time(self) -> "AppSettings":
        limit_s = self.router.request_timeout_s
        if self.router.treatment_timeout_s > limit_s:
            raise ValueError(
                f"router.treatment_timeout_s ({self.router.treatment_timeout_s:g}) must be at most "
                f"router.request_timeout_s ({limit_s:g})"
            )
        for each in self.versions:
            wait_s = each.batching.batch_wait_timeout_s
            if wait_s >= limit_s:
                raise ValueError(
                    f"versions: {each.model}:{each.version}: batching.batch_wait_timeout_s "
                    f"({wait_s:g}) must be below router.request_timeout_s ({limit_s:g}), "
                    f"or a lone request is never answered"
                )
        return self

    @model_validator(mode="after")
    def _is_consistent(self) -> "AppSettings":
        references = [(each.model, each.version) for each in self.versions]
        repeated = sorted({f"{m}:{v}" for m, v in references if references.count((m, v)) > 1})
        if repeated:
            raise ValueError(f"versions: declared more than once: {', '.join(repeated)}")
        models = list(dict.fromkeys(each.model for each in self.versions))
        if self.default_model is None and len(models) > 1:
            raise ValueError(
                f"default_model: expected one of {', '.join(models)}, since several are declared"
            )
        if self.default_model is not None and self.default_model not in models:
            raise ValueError(
                f"default_model: expected one of {', '.join(models)}, "
                f"received {self.default_model!r}"
            )
        return self
