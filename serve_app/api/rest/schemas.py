"""The schemas of requests and responses, for the OpenAPI document and for readers.

The endpoints parse and build bodies without them (`serve_app.api.rest.parsing`,
`serve_app.api.rest.encoding`); tests validate real responses against them.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import JsonSchemaMode, SkipJsonSchema, models_json_schema

from serve_app.api.rest import idempotency
from serve_app.experiments.definition import EndReason, ExperimentDefinition, ExperimentStatus
from serve_app.experiments.records import LARGEST_RETURN, MAX_OUTCOMES

RAW = "application/octet-stream"
NPY = "application/x-npy"
"""The content types of bodies that hold nothing but numbers; see `serve_app.api.rest.bodies`."""

ARROW = "application/vnd.apache.arrow.stream"
"""The content type of bars as an Arrow IPC stream."""

NO_CONTROL_CHARACTERS = r"^[^\u0000-\u001f\u007f-\u009f]*$"

Text = Annotated[str, Field(min_length=1, max_length=128, pattern=NO_CONTROL_CHARACTERS)]
PredictionId = Annotated[str, Field(min_length=1, max_length=64, pattern=NO_CONTROL_CHARACTERS)]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class PredictBody(_Schema):
    """A window of features and the requested version."""

    symbol: Text
    features: list[float] | list[list[float]] | SkipJsonSchema[None] = Field(
        None, json_schema_extra=_without_default
    )
    """timesteps x features numbers, flat in row order or as the nested matrix. Without them the
    server predicts from its own window of the symbol."""
    model_name: Text | None = None
    model_version: Text | None = None
    """A version, `production` or `staging`; by default the production version."""
    unit_id: Text | None = None
    """Keeps a bot in one variant of an experiment."""
    timeframe: Text | None = None
    """The timeframe of the server's window; by default that of the model's features."""
    bar: int | Text | None = None
    """The last bar of the server's window, by its opening: ISO 8601 with a zone, or milliseconds
    since 1970; by default the newest one."""
    max_age_s: Annotated[float, Field(ge=0)] | None = None
    """The longest time since the end of that bar; by default one and a half timeframes of an open
    market, or any time if `bar` is given."""
    timings: bool = False
    """Whether the response contains its timing sections; not allowed in a batch."""


class PredictionValue(_Schema):
    """The output of the model."""

    direction: Literal[0, 1, 2]
    """0 HOLD, 1 BUY, 2 SELL."""
    confidence: float
    """Between 0 and 1; for a model without this output, the probability of the chosen class."""
    expected_return: float | None
    """The market's return over the model's horizon; null for a model without this output."""
    return_quantiles: dict[str, float] | None = None
    """The quantiles of that return by level, such as "0.1"; absent for a model without them."""


class DirectionProbabilities(_Schema):
    """The probability of each direction."""

    HOLD: float
    BUY: float
    SELL: float


class StreamEvent(_Schema):
    """The data of an event `prediction` of the stream."""

    symbol: str
    timeframe: str
    bar: datetime
    """The opening of the last bar of the window."""
    as_of: datetime
    """When the last of the window's bars became known."""
    model_name: str
    model_version: str
    prediction: PredictionValue
    probabilities: DirectionProbabilities | None = None


class WindowResponse(_Schema):
    """The server's window of a symbol."""

    symbol: str
    timeframe: str
    model_name: str
    model_version: str
    as_of: datetime
    """When the last of the window's bars became known; later revisions do not matter."""
    features: list[str]
    """The names of the columns."""
    bars: list[datetime]
    """The opening of the bar of each row."""
    rows: list[list[float]]
    """The numbers of each bar, as the model receives them."""


class SeriesBody(_Schema):
    """Bars of a symbol, by a range, or rows of features, one per bar."""

    symbol: Text | None = None
    features: list[float] | list[list[float]] | SkipJsonSchema[None] = Field(
        None, json_schema_extra=_without_default
    )
    """At least as many rows as a window has, flat in row order or as the nested matrix. Without
    them the server predicts from its own windows of the symbol."""
    model_name: Text | None = None
    model_version: Text | None = None
    """A version, `production` or `staging`; by default the production version."""
    timeframe: Text | None = None
    """The timeframe of the bars; by default that of the model's features."""
    from_: int | Text | None = Field(None, alias="from")
    """The first bar, ISO 8601 with a zone or milliseconds since 1970; required without features."""
    to: int | Text | None = None
    """The last bar; by default the newest one."""
    known_at: int | Text | None = None
    """The time of the view: what the server learned later is left out; by default, now."""


class SeriesPrediction(_Schema):
    """The prediction for one window of a series."""

    bar: datetime | None = None
    """The opening of the window's last bar; absent for rows of features, as is the next."""
    as_of: datetime | None = None
    """When the last of the window's bars became known; later revisions do not matter."""
    row: int | None = None
    """The position of the window's last row; absent for bars."""
    prediction: PredictionValue
    probabilities: DirectionProbabilities | None = None


class OmittedWindow(_Schema):
    """A bar or a row without a prediction."""

    bar: datetime | None = None
    row: int | None = None
    code: str
    """That of the error that a single request receives, for example `incomplete_window`."""


class SeriesResponse(_Schema):
    """The predictions of a series, in order; they are not recorded."""

    symbol: str | None
    timeframe: str | None
    model_name: str
    model_version: str
    predictions: list[SeriesPrediction]
    omitted: list[OmittedWindow]
    """Every other bar that the server has of the range."""


class Timings(_Schema):
    """The timing sections of a request in milliseconds, in this order."""

    read_ms: float
    """Reading the body."""
    parse_ms: float
    """Decoding the body into checked fields."""
    route_ms: float
    """Selecting the version and checking the numbers."""
    queue_ms: float
    """The round trip to the model."""
    batch_wait_ms: float | None = None
    """Waiting for the batch to fill and for the previous run."""
    model_ms: float | None = None
    """Running the model."""
    serialise_ms: float
    """Encoding the response."""


class PredictResponse(_Schema):
    """A prediction and its origin."""

    symbol: str
    prediction: PredictionValue
    model_name: str
    model_version: str
    variant: Literal["control", "treatment"] | None
    """The variant that predicted; null outside experiments."""
    fallback: bool = False
    """Present and true if control responded because treatment failed or took too long."""
    prediction_id: str
    latency_ms: float
    """The server-side time of this request."""
    timestamp: datetime
    probabilities: DirectionProbabilities | None = None
    """Those of the model, or the softmax of its logits; absent for a regressor, which has none."""
    bar: datetime | None = None
    """The opening of the last bar of the server's window; absent if the request had features, as
    are the next two."""
    as_of: datetime | None = None
    """When the last of the window's bars became known; later revisions do not matter."""
    age_s: float | None = None
    """The time since the end of that last bar."""
    timings: Timings | None = None
    """Present if requested."""


class ErrorValue(BaseModel):
    """An error; further fields hold its data, for example `expected` and `received`."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str


class ErrorResponse(_Schema):
    """The body of every unsuccessful response."""

    error: ErrorValue


class FailedItem(_Schema):
    """The entry of a request of a batch that has no prediction."""

    symbol: str | None
    error: ErrorValue


class BatchBody(_Schema):
    """Several requests in one body."""

    requests: Annotated[list[PredictBody], Field(min_length=1)]
    max_batch_size: Annotated[int, Field(ge=1)] = 32
    """The largest number of windows in one run of the model."""


class BatchResponse(_Schema):
    """One entry per request, in the order of the requests."""

    predictions: list[PredictResponse | FailedItem]
    total_latency_ms: float
    succeeded: int
    failed: int


class ModelEntry(_Schema):
    """One version behind this server."""

    name: str
    version: str
    stage: Literal["None", "Staging", "Production", "Archived"]
    model_type: str
    metrics: dict[str, float]
    size_mb: float
    loaded: bool
    pending: bool
    """Whether its previous settings or artifact serve until the changed ones are loaded."""
    problem: str | None
    """Why it was not loaded the last time; null once it is loaded."""


class ReloadBody(_Schema):
    """The version to load."""

    model_name: Text
    version: Text | None = None
    """A version, `production` or `staging`; by default the production version."""


class ReloadResponse(_Schema):
    """The version that was loaded."""

    status: Literal["success"]
    message: str
    """The version of each stage of the model after the reload."""
    model_name: str
    version: str


class ExperimentCreated(_Schema):
    """The experiment is running."""

    status: Literal["success"]
    experiment_id: str


class ExperimentEntry(_Schema):
    """An experiment in the list of experiments."""

    experiment_id: str
    status: ExperimentStatus
    control: str
    treatment: str
    control_traffic: float
    treatment_traffic: float
    started_at: datetime
    ended_at: datetime | None
    end_reason: EndReason | None


class OutcomeValue(_Schema):
    """The market's return after a prediction."""

    prediction_id: PredictionId
    market_return: Annotated[float, Field(ge=-LARGEST_RETURN, le=LARGEST_RETURN)]
    """As a fraction over the model's horizon, signed by the market, not by the trade."""


class OutcomeList(_Schema):
    """Several outcomes, each of which succeeds or fails on its own."""

    outcomes: Annotated[list[OutcomeValue], Field(min_length=1, max_length=MAX_OUTCOMES)]


class OutcomeBody(RootModel[OutcomeValue | OutcomeList]):
    """One outcome, or a list of them."""


class OutcomeConflict(_Schema):
    """An outcome that contradicts the recorded one, which remains."""

    prediction_id: str
    recorded: float
    received: float


class OutcomesResponse(_Schema):
    """The results of the outcomes; accepted ones are durable."""

    accepted: int
    duplicates: int
    unrecorded: list[str]
    unknown: list[str]
    conflicts: list[OutcomeConflict]


class BarValue(_Schema):
    """A bar; one whose values are not valid is rejected alone."""

    time: str | int
    """The opening of the bar: ISO 8601 with a time zone, or milliseconds since 1970."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    is_final: bool = True
    """False for a bar whose period has not ended: it is kept until a later bar arrives."""


class PushValue(_Schema):
    """Bars of one symbol and timeframe, in any order."""

    symbol: str
    timeframe: str
    """`1m`, `5m`, `15m`, `1h`, `4h`, `1d` and further divisors of an hour and a day, and `1w`."""
    bars: list[BarValue]


class PushList(_Schema):
    """Pushes of several symbols and timeframes, which are stored together."""

    pushes: list[PushValue]


class PushBody(RootModel[PushValue | PushList]):
    """One push, or a list of them."""


class RejectedBar(_Schema):
    """A bar that was not stored."""

    push: int | None = None
    """The position of its push; absent unless the body is a list of pushes."""
    index: int
    """The position of the bar in its push, or of its row in the stream."""
    reason: str


class PushResponse(_Schema):
    """What became of the bars; it is durable."""

    accepted: int
    """The number of new bars."""
    duplicates: int
    """The number of bars that were stored already, with the same numbers."""
    revised: int
    """The number of bars that were stored with other numbers, which remain for earlier times."""
    rejected: list[RejectedBar]
    """At most 1000 of the bars that are not valid."""
    rejected_total: int | None = None
    """The number of all of them; absent unless there are more than the list has."""


class StoredBar(_Schema):
    """A bar, as it was known."""

    time: datetime
    """The opening of the bar."""
    open: float
    high: float
    low: float
    close: float
    volume: float
    known_at: datetime
    """When the server learned these numbers."""


class GapValue(_Schema):
    """Consecutive bars that are missing between two bars."""

    from_: datetime = Field(alias="from")
    """The first missing bar."""
    to: datetime
    """The last missing bar."""
    bars: int


class BarsResponse(_Schema):
    """Bars of one symbol and timeframe, by time."""

    symbol: str
    timeframe: str
    bars: list[StoredBar]
    gaps: list[GapValue]
    """The gaps between the bars; closed markets are gaps as well."""
    next: datetime | None
    """The `from` of the next page; null at the end, and without `from`."""
    provisional: StoredBar | None
    """The latest bar if it is not final; null in a view of the past."""


class SymbolEntry(_Schema):
    """What the server has of one symbol and timeframe."""

    symbol: str
    timeframe: str
    first: datetime
    """The opening of the first bar."""
    last: datetime
    """The opening of the last bar."""
    count: int
    gaps: int
    """The number of gaps; closed markets are gaps as well."""
    missing: int
    """The number of bars that are missing in them."""
    age_s: float
    """The time since the end of the last bar."""


class HealthResponse(_Schema):
    """The readiness of the server."""

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: datetime
    loaded_models: list[str]
    active_experiments: list[str]
    uptime_seconds: float
    problems: list[str]


class LivenessResponse(_Schema):
    """A server that responds."""

    status: Literal["alive"]


class ReadinessResponse(_Schema):
    """Whether requests that name no version are served."""

    ready: bool


def responses(success: object) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of an endpoint's responses."""
    return {200: {"model": success}, "default": {"model": ErrorResponse}}


BODIES = (
    PredictBody,
    BatchBody,
    SeriesBody,
    ReloadBody,
    ExperimentDefinition,
    OutcomeBody,
    PushBody,
)
_REF = "#/components/schemas/{model}"


def body_of(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a request body that an endpoint parses itself."""
    reference = {"$ref": _REF.format(model=schema.__name__)}
    content = {"application/json": {"schema": reference}}
    return {"requestBody": {"required": True, "content": content}}


def command_of(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a command that a client may repeat."""
    return {**body_of(schema), "parameters": [idempotency.PARAMETER]}


def forms_of_predict() -> dict[str, Any]:
    """Return the OpenAPI description of all forms in which a window is accepted."""
    described = body_of(PredictBody)
    numbers = {"schema": {"type": "string", "format": "binary"}}
    content = described["requestBody"]["content"]
    content |= {RAW: numbers, NPY: numbers}
    in_json = ("features", "timeframe", "bar", "max_age_s")
    fields = [*(name for name in PredictBody.model_fields if name not in in_json), "shape"]
    described["parameters"] = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": "For a body of numbers; JSON has its fields in the body.",
            "schema": {"type": "boolean" if name == "timings" else "string"},
        }
        for name in fields
    ]
    return described


def forms_of_push() -> dict[str, Any]:
    """Return the OpenAPI description of the forms in which bars are accepted."""
    described = body_of(PushBody)
    stream = {"schema": {"type": "string", "format": "binary"}}
    described["requestBody"]["content"][ARROW] = stream
    described["parameters"] = [
        _parameter(name, f"For a body of {ARROW} without a column of this name.")
        for name in ("symbol", "timeframe")
    ]
    return described


def parameters_of_bars() -> list[dict[str, Any]]:
    """Return the OpenAPI description of the parameters of a query of bars."""
    time = "ISO 8601 with a time zone, or milliseconds since 1970"
    return [
        _parameter("timeframe", "The timeframe; optional if the symbol has only one."),
        _parameter("from", f"The first bar, {time}; by default the newest bars are returned."),
        _parameter("to", f"The last bar, {time}."),
        _parameter("known_at", f"The time of the view, {time}; by default, now."),
        _parameter("limit", "The most bars, up to 100,000; by default 1000.", "integer"),
    ]


def responses_of_bars() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the responses to a query of bars."""
    described = responses(BarsResponse)
    stream = {"schema": {"type": "string", "format": "binary"}}
    described[200] = {**described[200], "content": {ARROW: stream}}
    return described


def responses_of_series() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the responses to a request for a series."""
    described = responses(SeriesResponse)
    stream = {"schema": {"type": "string", "format": "binary"}}
    described[200] = {**described[200], "content": {ARROW: stream}}
    return described


def parameters_of_stream() -> list[dict[str, Any]]:
    """Return the OpenAPI description of the parameters of the stream."""
    return [_parameter("symbols", "Names of symbols, separated by commas; by default all.")]


def parameters_of_window() -> list[dict[str, Any]]:
    """Return the OpenAPI description of the parameters of a request for a window."""
    return [
        _parameter("model_name", "The model; by default that of requests that name none."),
        _parameter("model_version", "A version or a stage; by default production."),
        _parameter("timeframe", "The timeframe; by default that of the model's features."),
        _parameter("bar", "The last bar, ISO 8601 or milliseconds; by default the newest."),
    ]


def responses_of_stream() -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of the responses to a request for the stream."""
    described = responses(None)
    events = {"schema": {"type": "string"}}
    description = "Events `prediction`, each with the JSON of a StreamEvent as its data."
    return {
        200: {"description": description, "content": {"text/event-stream": events}},
        "default": described["default"],
    }


def _parameter(name: str, description: str, kind: str = "string") -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": kind},
    }


def body_schemas() -> dict[str, Any]:
    """Return the schemas that `body_of` refers to, by name."""
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(body, "validation") for body in BODIES]
    _, definitions = models_json_schema(modes, ref_template=_REF)
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas
