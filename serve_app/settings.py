"""The settings below `args` in `serve_config.yaml`: frozen, validated as a whole.

Unknown keys are rejected. The line under a field states the cost of its default.
"""

from collections.abc import Callable
from pathlib import Path
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

from features.calendars import CALENDARS, WEEKDAYS, MarketCalendar, Markets
from features.errors import InvalidCalendarError
from registry.errors import InvalidNameError
from registry.layout import Layout
from registry.records import check_model_name, check_reference
from registry.signatures import check_key_id
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
    # The serving state is stored as JSON, which has no infinity.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BatchSettings(_Settings):
    """How requests for one version are batched into one run of its model."""

    max_batch_size: PositiveInt = 32
    """Largest batch; beyond 8 or so a CPU gains nothing more per sample."""

    batch_wait_timeout_s: NonNegativeFloat = 0.0
    """Latency added to a lone request so that a batch can form; keep far below the latency
    budget."""

    busy_wait_timeout_s: NonNegativeFloat = 0.003
    """Latency added instead while eight other requests are in flight in the router. They reach the
    replicas one by one, and a fuller batch saves more time than the wait costs."""


class AutoscalingSettings(_Settings):
    """How the number of a version's replicas follows its load."""

    min_replicas: PositiveInt = 1
    """Number of replicas without load; each uses about 110 MB."""

    max_replicas: PositiveInt
    """Largest number of replicas; more than the cluster has cores share those cores."""

    target_ongoing_requests: PositiveFloat = 8.0
    """Average number of requests in flight per replica; above it replicas are added. A lower target
    reduces latency and needs more replicas."""

    upscale_delay_s: NonNegativeFloat = 5.0
    """Time for which load must be high before replicas are added; each starts in about 2 s more."""

    downscale_delay_s: NonNegativeFloat = 300.0
    """Time for which load must be low before replicas are removed."""

    @model_validator(mode="after")
    def _check_range(self) -> "AutoscalingSettings":
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas ({self.min_replicas}) must be at most "
                f"max_replicas ({self.max_replicas})"
            )
        return self


class VersionSettings(_Settings):
    """One version of a model, its replicas and their resources."""

    model: Annotated[str, _checked(check_model_name)]
    """The name of the model in the registry."""

    version: Annotated[str, _checked(check_reference)] = "production"
    """A semantic version, or `production` or `staging` for the version in that stage. The stage is
    resolved when the edited file is deployed and when the model is reloaded. A stage without a
    version is left out, with a warning."""

    placement: Literal["replicas", "router"] = "replicas"
    """`replicas`: separate processes, several of them, on any node. `router`: inside every router,
    which saves the call to a replica, 0.3 ms per request. That suits a small model, since it blocks
    its router while it runs, and each router holds a copy."""

    num_replicas: PositiveInt | None = None
    """Number of processes that serve this version, 1 by default; each uses about 110 MB."""

    autoscaling: AutoscalingSettings | None = None
    """Scales the number of replicas with the load, instead of a fixed `num_replicas`."""

    num_cpus: NonNegativeFloat = 0.1
    """Cores that Ray reserves per replica when it places it on a node; a share, not a limit."""

    num_gpus: NonNegativeFloat = 0.0
    """GPUs per replica: a share below 1, or a whole number. Above 0 the model runs on the GPU only,
    on ONNX Runtime's CUDA provider or on PyTorch."""

    num_threads: PositiveInt = 1
    """Threads per model run; more speed up a large model and slow down many small requests."""

    max_ongoing_requests: PositiveInt = 64
    """Requests in flight per replica; no batch is larger than this."""

    max_queued_requests: PositiveInt = 256
    """Requests that wait in a router for a replica; further ones receive 503 at once."""

    batching: BatchSettings = BatchSettings()

    @property
    def min_replicas(self) -> int:
        """Return the smallest number of replicas that the version may have."""
        return self.num_replicas or (self.autoscaling.min_replicas if self.autoscaling else 1)

    @model_validator(mode="after")
    def _check_batch_can_fill(self) -> "VersionSettings":
        if self.max_ongoing_requests < self.batching.max_batch_size:
            raise ValueError(
                f"max_ongoing_requests ({self.max_ongoing_requests}) must be at least "
                f"batching.max_batch_size ({self.batching.max_batch_size}), "
                f"or a batch can never fill"
            )
        return self

    @model_validator(mode="after")
    def _check_replicas(self) -> "VersionSettings":
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
    def _check_placement(self) -> "VersionSettings":
        if self.placement == "router":
            # These apply to replicas only; the number and resources of routers are set under
            # `router`.
            given = {
                "num_replicas": self.num_replicas is not None,
                "autoscaling": self.autoscaling is not None,
                "num_gpus": self.num_gpus > 0,
            }
            for setting in (name for name, is_given in given.items() if is_given):
                raise ValueError(
                    f"{setting} is for placement: replicas; a version with placement: router runs "
                    f"in every router, whose number and share of the cores are set under `router`"
                )
        return self

    @model_validator(mode="after")
    def _check_gpus(self) -> "VersionSettings":
        if self.num_gpus > 1 and not self.num_gpus.is_integer():
            raise ValueError(
                f"num_gpus: expected a share below 1 or a whole number, received {self.num_gpus:g}"
            )
        return self


class LoadingSettings(_Settings):
    """Undeclared versions: reloaded or requested by number, or formerly in a stage."""

    on_demand: bool = False
    """Whether a request that names a registered version loads it: the first responses are 503 with
    Retry-After. Otherwise such a request receives 404. Lets callers determine what is in memory."""

    max_versions: PositiveInt = 8
    """Number of undeclared versions that requests may load; each uses about 110 MB."""

    unload_idle_s: NonNegativeFloat = 900.0
    """Time for which such a version stays loaded without a request, so that a rollback is fast.
    Declared versions, and versions in a stage, are never unloaded."""


class RouterSettings(_Settings):
    """The ingress: the number of routers and the limits on their requests."""

    num_replicas: PositiveInt = 1
    """Number of processes that receive HTTP requests; each serves several hundred per second."""

    num_cpus: NonNegativeFloat = 0.1
    """Cores that Ray reserves per router when it places it on a node; a share, not a limit."""

    max_ongoing_requests: PositiveInt = 512
    """Requests in flight per router, counted separately for predictions; further ones wait."""

    max_body_bytes: PositiveInt = 16_000_000
    """Largest accepted body of a batch: about a hundred windows of 60 x 110 numbers as JSON. The
    limits of other endpoints are fixed, and never above this one."""

    max_bodies_bytes: PositiveInt = 256_000_000
    """Memory for the bodies of all requests in flight, per router; further ones receive 503."""

    hosts: tuple[str, ...] = ()
    """Names and addresses under which clients reach the server, without a port, such as
    `trading-box` or `10.0.0.5`; localhost and loopback addresses are always accepted. Requests for
    other hosts receive 421, since a web page can make its own name point here."""

    max_batch_requests: PositiveInt = 1024
    """Largest number of requests in one batch body."""

    request_timeout_s: PositiveFloat = 10.0
    """Longest wait of a request for its version, before it receives 503."""

    treatment_timeout_s: PositiveFloat = 0.25
    """Longest wait for an experiment's treatment, before the request falls back to control."""

    breaker: BreakerSettings = BreakerSettings()
    """When a router withholds traffic from an experiment's treatment, and when it probes it."""


class AccessSettings(_Settings):
    """Which requests are accepted without a token, and the limits of those with one."""

    anonymous: bool = False
    """Whether requests without a token are accepted although tokens exist, and on addresses other
    than loopback. Anyone who reaches the port may then do everything."""

    token_file: str | None = None
    """The file with the digests of the tokens on the head node, relative to the folder in which Ray
    was started; by default `.tokens.json` in the registry's folder."""

    requests_per_s: PositiveInt | None = 1000
    """Requests per second that each token may send to one router, and as many at once after a
    pause; null for no limit. Further ones receive 429. A batch is one request."""

    max_concurrent_requests: PositiveInt | None = 256
    """Requests in flight per token and router; null for no limit. Keep it below
    `router.max_ongoing_requests`, so that one token cannot occupy a router alone."""


class ExperimentSettings(_Settings):
    """Where predictions and outcomes are stored, and for how long."""

    database_url: str | None = None
    """`postgresql://user:password@host/database`, or `sqlite:///file`; by default the SQLite file
    `.experiments-<application>.db` in the registry's folder."""

    record_all: bool = True
    """Whether predictions outside experiments are stored as well, so that outcomes can be recorded
    for them; about 300 bytes each."""

    keep_days: PositiveFloat = 30.0
    """Time for which single predictions are stored; what they add to a summary stays."""


class BarSettings(_Settings):
    """Where bars are stored, and for how long."""

    folder: str | None = None
    """The folder of the bar log on the head node, relative to the folder in which Ray was started;
    by default `.bars` in the registry's folder. Its history takes about 25 bytes per bar."""

    database_url: str | None = None
    """`postgresql://user:password@host/database`, or `sqlite:///file`, for the recent bars and the
    list of the history's files; by default a SQLite file in the folder."""

    keep_days: PositiveFloat | None = None
    """Time for which bars are stored, all of them if null: feature sets and datasets need the past.
    """


class CalendarSettings(_Settings):
    """The trading hours of a market: one session per trading day."""

    zone: str
    """The IANA name of the market's time zone, such as `America/New_York`."""

    opens: str
    """The local time of the opening, such as `09:30`. One that is not earlier than that of the
    close is on the day before."""

    closes: str
    """The local time of the close, such as `16:00`."""

    weekdays: tuple[str, ...] = WEEKDAYS[:5]
    """The weekdays on which sessions close: `Mon` to `Sun`."""

    closed: tuple[str, ...] = ()
    """Dates without a session, such as `2026-04-03`, or `12-25` for every year. A bar of such a
    date counts as missing if it is not listed."""

    def calendar(self) -> MarketCalendar:
        """Return the calendar.

        Raises:
            InvalidCalendarError: a text has no meaning.
        """
        return MarketCalendar.of(self.zone, self.opens, self.closes, self.weekdays, self.closed)


class MarketSettings(_Settings):
    """When markets are open, which decides whether a window is stale or lacks bars."""

    calendars: dict[str, CalendarSettings] = {}
    """Calendars by name, beside `always` and `fx`: from Sunday to Friday, 17:00 in New York, closed
    on 25 December and 1 January."""

    symbols: dict[str, str] = {}
    """Names of calendars by symbol, or by patterns such as `EUR*`; the first that matches holds.
    Other symbols have the calendar `always`: each of their bars must be known."""

    def markets(self) -> Markets:
        """Return the calendars of all symbols."""
        own = {name: settings.calendar() for name, settings in self.calendars.items()}
        known = {**CALENDARS, **own}
        return Markets(tuple((pattern, known[name]) for pattern, name in self.symbols.items()))

    @model_validator(mode="after")
    def _check_calendars(self) -> "MarketSettings":
        try:
            self.markets()
        except InvalidCalendarError as error:
            raise ValueError(str(error)) from error
        except KeyError as error:
            known = ", ".join({**CALENDARS, **self.calendars})
            raise ValueError(f"symbols: expected one of {known}, received {error}") from None
        return self


class AppSettings(_Settings):
    """The whole application."""

    registry_root: str = "models"
    """The registry's folder on the head node, relative to the folder in which Ray was started."""

    require_signature: tuple[Annotated[str, AfterValidator(check_key_id)], ...] = ()
    """The ids of the keys of which one must have signed every version, as `modelctl key show`
    prints them: checked at registration, at each change of stage and whenever a version is loaded.
    Empty: no signature is required."""

    require_reference_outputs: bool = False
    """Whether a version without the outputs of its training library in `windows.npz` is rejected.
    By default it is served, and nothing verifies that its conversion kept the outputs."""

    default_model: str | None = None
    """Model of a request that names none; optional when only one model is declared."""

    router: RouterSettings = RouterSettings()

    loading: LoadingSettings = LoadingSettings()

    experiments: ExperimentSettings = ExperimentSettings()

    bars: BarSettings = BarSettings()

    access: AccessSettings = AccessSettings()

    markets: MarketSettings = MarketSettings()

    versions: tuple[VersionSettings, ...] = Field(min_length=1)
    """The versions that are served from the start."""

    @property
    def token_file(self) -> Path:
        """Return the path of the token file on the head node."""
        if self.access.token_file is not None:
            return Path(self.access.token_file)
        return Layout(Path(self.registry_root)).tokens()

    @property
    def bar_folder(self) -> Path:
        """Return the folder of the bar log on the head node."""
        if self.bars.folder is not None:
            return Path(self.bars.folder)
        return Layout(Path(self.registry_root)).bars()

    @property
    def usual_model(self) -> str:
        """Return the model of a request that names none."""
        return self.default_model or self.versions[0].model

    @model_validator(mode="after")
    def _check_timeouts(self) -> "AppSettings":
        limit_s = self.router.request_timeout_s
        if self.router.treatment_timeout_s > limit_s:
            raise ValueError(
                f"router.treatment_timeout_s ({self.router.treatment_timeout_s:g}) must be at most "
                f"router.request_timeout_s ({limit_s:g})"
            )
        for declared in self.versions:
            wait_s = declared.batching.batch_wait_timeout_s
            if wait_s >= limit_s:
                raise ValueError(
                    f"versions: {declared.model}:{declared.version}: batching.batch_wait_timeout_s "
                    f"({wait_s:g}) must be below router.request_timeout_s ({limit_s:g}), "
                    f"or a lone request always times out"
                )
        return self

    @model_validator(mode="after")
    def _check_models(self) -> "AppSettings":
        references = [(declared.model, declared.version) for declared in self.versions]
        repeated = sorted({f"{m}:{v}" for m, v in references if references.count((m, v)) > 1})
        if repeated:
            raise ValueError(f"versions: declared more than once: {', '.join(repeated)}")
        models = list(dict.fromkeys(declared.model for declared in self.versions))
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
