"""What `serve_config.yaml` may say below `args`: frozen, checked as a whole, unknown keys refused.

The line under a field says what its default costs.
"""

from collections.abc import Callable
from typing import Annotated

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


def _checked(check: Callable[[object], str]) -> AfterValidator:
    """Return a validator that applies one of the registry's rules."""

    def validate(value: str) -> str:
        try:
            return check(value)
        except InvalidNameError as error:
            raise ValueError(str(error)) from error

    return AfterValidator(validate)


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BatchSettings(_Settings):
    """How requests for one version join into one run of its model."""

    max_batch_size: PositiveInt = 32
    """Largest batch; beyond 8 or so a CPU gains nothing more per sample."""

    batch_wait_timeout_s: NonNegativeFloat = 0.0
    """What a lone request pays so that others can join it; keep far below the latency budget."""


class VersionSettings(_Settings):
    """One version of a model and what it may use."""

    model: Annotated[str, _checked(check_model_name)]
    """Name of the model in the registry."""

    version: Annotated[str, _checked(check_reference)] = "production"
    """A semantic version, or `production` or `staging` for the one that holds the stage when the
    application is deployed. A stage that no version holds is left out, with a warning."""

    num_replicas: PositiveInt = 1
    """Processes that serve this version; each costs about 110 MB."""

    num_cpus: NonNegativeFloat = 0.1
    """Cores that Ray sets aside for each replica when it chooses a node; a share, not a limit."""

    num_threads: PositiveInt = 1
    """Threads of one model run; more help a large model and harm many small requests."""

    max_ongoing_requests: PositiveInt = 64
    """Requests that a replica takes at a time; a batch can be no fuller than this."""

    max_queued_requests: PositiveInt = 256
    """Requests that wait in a router for a replica; more are answered 503 at once."""

    batching: BatchSettings = BatchSettings()

    @model_validator(mode="after")
    def _lets_a_batch_fill(self) -> "VersionSettings":
        if self.max_ongoing_requests < self.batching.max_batch_size:
            raise ValueError(
                f"max_ongoing_requests ({self.max_ongoing_requests}) must be at least "
                f"batching.max_batch_size ({self.batching.max_batch_size}), "
                f"or a batch can never fill"
            )
        return self


class RouterSettings(_Settings):
    """The ingress: how many there are and what they accept."""

    num_replicas: PositiveInt = 1
    """Processes that take HTTP requests; one carries several hundred requests a second."""

    num_cpus: NonNegativeFloat = 0.1
    """Cores that Ray sets aside for each router when it chooses a node; a share, not a limit."""

    max_ongoing_requests: PositiveInt = 512
    """Requests in work at a time in one router; more wait at the proxy."""

    max_body_bytes: PositiveInt = 16_000_000
    """Largest body accepted: a hundred windows of 60 x 110 numbers as JSON."""

    max_batch_requests: PositiveInt = 1024
    """Most requests in one batch body."""

    request_timeout_s: PositiveFloat = 10.0
    """How long a request may wait for its version before it is answered 503."""


class AppSettings(_Settings):
    """The whole application."""

    registry_root: str = "models"
    """The registry's folder on the head node; relative to where Ray was started."""

    default_model: str | None = None
    """Model of a request that names none; may be left out when only one model is declared."""

    router: RouterSettings = RouterSettings()

    versions: tuple[VersionSettings, ...] = Field(min_length=1)
    """What is served from the start."""

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
