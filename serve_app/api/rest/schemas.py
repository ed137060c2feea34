"""The shapes of requests and answers, for the OpenAPI document and for readers.

The hot path builds and checks them by hand (`serve_app.api.rest.parsing`,
`serve_app.data_plane.predictions`); a test holds real answers against these.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from serve_app.experiments.definition import ExperimentDefinition

RAW = "application/octet-stream"
NPY = "application/x-npy"
"""Content types of bodies of numbers, see `serve_app.api.rest.bodies`."""

Text = Annotated[str, Field(min_length=1, max_length=128)]


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class PredictBody(_Schema):
    """A window of features and who answers it."""

    symbol: Text
    features: list[float] | list[list[float]]
    """timesteps x features numbers, flat in row order or as the nested matrix."""
    model_name: Text | None = None
    model_version: Text | None = None
    """A version, `production` or `staging`; by default what is in production."""
    unit_id: Text | None = None
    """Keeps a bot in one variant of an experiment."""
    timings: bool = False
    """Whether the answer is to say where its time went; not in a batch."""


class PredictionValue(_Schema):
    """The model's answer."""

    direction: Literal[0, 1, 2]
    """0 HOLD, 1 BUY, 2 SELL."""
    confidence: float
    """Between 0 and 1; of a model that gives none, the probability of the class it chose."""
    expected_return: float | None
    """The market's return over the model's horizon; null where the model gives none."""


class Timings(_Schema):
    """Where the time went, in milliseconds, in this order."""

    read_ms: float
    """Until the body was there."""
    parse_ms: float
    """From the body to checked fields."""
    route_ms: float
    """Which version answers; the numbers are checked."""
    queue_ms: float
    """The way to the model and back."""
    batch_wait_ms: float | None = None
    """For batch-mates and for the run before."""
    model_ms: float | None = None
    """The run of the model."""
    serialise_ms: float
    """From the answer to its bytes."""


class PredictAnswer(_Schema):
    """A prediction and where it came from."""

    symbol: str
    prediction: PredictionValue
    model_name: str
    model_version: str
    variant: Literal["control", "treatment"] | None
    """The variant of an experiment that answered; null outside experiments."""
    fallback: bool = False
    """Present and true where control stood in for treatment, which failed."""
    prediction_id: str
    latency_ms: float
    """The server's own time for this request."""
    timestamp: datetime
    timings: Timings | None = None
    """Present where the request asked for it."""


class ErrorValue(BaseModel):
    """What went wrong; further fields hold the facts, for example `expected` and `received`."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str


class ErrorAnswer(_Schema):
    """The body of every answer that is not a success."""

    error: ErrorValue


class FailedItem(_Schema):
    """The place of a request of a batch that has no prediction."""

    symbol: str | None
    error: ErrorValue


class BatchBody(_Schema):
    """Several requests at once."""

    requests: Annotated[list[PredictBody], Field(min_length=1)]
    max_batch_size: Annotated[int, Field(ge=1)] = 32
    """Most windows in one run of the model."""


class BatchAnswer(_Schema):
    """One entry a request, in the order of the requests."""

    predictions: list[PredictAnswer | FailedItem]
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


class ReloadBody(_Schema):
    """Which version is to be loaded."""

    model_name: Text
    version: Text | None = None
    """A version, `production` or `staging`; by default what is in production."""


class ReloadAnswer(_Schema):
    """The version that answers now."""

    status: Literal["success"]
    message: str
    """Which version holds which stage of the model now."""
    model_name: str
    version: str


class ExperimentCreated(_Schema):
    """The experiment runs."""

    status: Literal["success"]
    experiment_id: str


class ExperimentEntry(_Schema):
    """An experiment in short."""

    experiment_id: str
    status: Literal["running", "completed"]
    control: str
    treatment: str
    control_traffic: float
    treatment_traffic: float
    started_at: datetime
    ended_at: datetime | None
    end_reason: Literal["stopped", "duration", "promoted", "rolled_back"] | None


class OutcomeValue(_Schema):
    """What the market did after a prediction."""

    prediction_id: Text
    market_return: float
    """As a fraction over the model's horizon, signed by the market, not by the trade."""


class OutcomeList(_Schema):
    """Several outcomes; each is judged on its own."""

    outcomes: Annotated[list[OutcomeValue], Field(min_length=1)]


class OutcomeBody(RootModel[OutcomeValue | OutcomeList]):
    """One outcome, or a list of them."""


class OutcomeConflict(_Schema):
    """Another outcome of the prediction is recorded, and stands."""

    prediction_id: str
    recorded: float
    received: float


class OutcomesAnswer(_Schema):
    """What became of the outcomes; what is accepted is on the disk."""

    accepted: int
    duplicates: int
    unknown: list[str]
    conflicts: list[OutcomeConflict]


class HealthAnswer(_Schema):
    """What is ready to answer."""

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: datetime
    loaded_models: list[str]
    active_experiments: list[str]
    uptime_seconds: float


BODIES = (PredictBody, BatchBody, ReloadBody, ExperimentDefinition, OutcomeBody)
_REF = "#/components/schemas/{model}"


def body_of(schema: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a request body that a handler reads by itself."""
    reference = {"$ref": _REF.format(model=schema.__name__)}
    content = {"application/json": {"schema": reference}}
    return {"requestBody": {"required": True, "content": content}}


def forms_of_predict() -> dict[str, Any]:
    """Return the OpenAPI description of all forms in which a window may come."""
    described = body_of(PredictBody)
    numbers = {"schema": {"type": "string", "format": "binary"}}
    content = described["requestBody"]["content"]
    content |= {RAW: numbers, NPY: numbers}
    fields = [*(each for each in PredictBody.model_fields if each != "features"), "shape"]
    described["parameters"] = [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": "Beside a body of numbers; with JSON the fields are in the body.",
            "schema": {"type": "boolean" if name == "timings" else "string"},
        }
        for name in fields
    ]
    return described


def body_schemas() -> dict[str, Any]:
    """Return the schemas that `body_of` refers to, by name."""
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(each, "validation") for each in BODIES]
    _, definitions = models_json_schema(modes, ref_template=_REF)
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas
