"""The core with backends, loaders and stores in memory, for tests of the planes and front ends."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from features.bars import KnownBars, find_gaps
from features.pushes import SeriesSummary
from features.timeframes import Timeframe
from registry import ModelStage
from serve_app.api.services import Services
from serve_app.bars.pushes import PushReport
from serve_app.bars.queries import BarPage, SeriesStatus
from serve_app.control_plane.experiment_service import ExperimentService
from serve_app.control_plane.reloads import ReloadResult
from serve_app.data_plane.backends import Backends
from serve_app.data_plane.batches import BatchService
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.data_plane.live_results import LiveTable, LiveWindow
from serve_app.data_plane.live_stream import LiveStream
from serve_app.data_plane.predictions import PredictionService
from serve_app.data_plane.requests import BatchRequest, PredictionRequest
from serve_app.data_plane.routes import Routes
from serve_app.data_plane.series import SeriesService
from serve_app.data_plane.series_windows import SeriesPart, WindowRun
from serve_app.data_plane.status import StatusService
from serve_app.data_plane.timing import Stopwatch
from serve_app.errors import (
    InvalidRequestError,
    NoFeatureSetError,
    NoSuchExperimentError,
    UnknownSymbolError,
)
from serve_app.experiments.analysis import analyse
from serve_app.experiments.blocks import BlockClock
from serve_app.experiments.definition import ExperimentDefinition, ExperimentStatus
from serve_app.experiments.history import (
    HistoryEntry,
    OutcomeResult,
    RecordedOutcome,
    StoredExperiment,
)
from serve_app.experiments.interim_analysis import InterimAnalysis
from serve_app.experiments.prediction_ids import issue_time
from serve_app.settings import RouterSettings, VersionSettings
from serve_app.state.routing import RoutingTable
from serve_app.state.serving import ServedVersion
from serve_app.versions import VersionRef
from testkit.models import metadata

OLD = metadata(version="1.0.0", stage=ModelStage.PRODUCTION, metrics={"accuracy": 0.5})
NEW = metadata(version="1.1.0", stage=ModelStage.STAGING)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

WINDOW = [1.0, 2, 3, 4, 5, 6]
NO_PREDICTION = [666.0, 2, 3, 4, 5, 6]
"""A window to which a backend responds with a failure."""

DEFINITION = {
    "experiment_id": "v1_vs_v2",
    "control_model_name": "toy",
    "control_model_version": "1.0.0",
    "treatment_model_name": "toy",
    "treatment_model_version": "1.1.0",
}


class FakeBackend:
    """Returns the first number of a window as expected_return; fails where it is 666."""

    def __init__(self, direction=1, loaded=True, error=None):
        self.direction, self.is_loaded, self.error = direction, loaded, error
        self.batches = []

    def loaded(self):
        return self.is_loaded

    def problem(self):
        return None

    def close(self):
        pass

    async def predict(self, window):
        return (await self.predict_many(window[None]))[0]

    async def predict_many(self, windows):
        self.batches.append(len(windows))
        if self.error:
            raise self.error
        return [
            Failure("NaN") if first == 666 else Prediction(self.direction, 0.5, first)
            for first in windows[:, 0, 0].tolist()
        ]


class FakeFleet:
    """Loads nothing, and notes the requests of the data plane and the commands of front ends."""

    def __init__(self, error=None):
        self.error, self.requests = error, []
        self.created = []
        self.callers, self.keys = [], []

    async def request(self, model, version):
        self.requests.append((model, version))
        if self.error:
            raise self.error

    async def reload(self, model, reference, by, key=None):
        self.requests.append((model, reference))
        self.keys.append(key)
        self.callers.append(by)
        if self.error:
            raise self.error
        stages = {"production": "1.0.0", "staging": "1.1.0"}
        return ReloadResult(VersionRef(model, reference or "1.0.0"), stages)

    async def create_experiment(self, definition, by, key):
        self.callers.append(by)
        self.keys.append(key)
        self.created.append(definition)

    async def stop_experiment(self, experiment_id, by):
        self.callers.append(by)
        return {"experiment_id": experiment_id, "status": "completed"}


class FakeBarPredictor:
    """Makes no predictions of older bars, and has one window."""

    async def window(self, version, symbol, bar_ms):
        rows = np.array([[0.5, 1], [2, 3], [4, 5]], np.float32)
        time = bar_ms - np.arange(2, -1, -1) * 3_600_000
        return LiveWindow(version, symbol, "1h", bar_ms + 5, time, rows)

    async def predict_bar(self, version, symbol, bar_ms):
        raise NoFeatureSetError(*version)

    async def series(self, version, wanted):
        """Return parts of two bars each, without a window at the first bar."""
        if wanted.symbol == "X":
            raise UnknownSymbolError("X", "1h", ["BTC/USDT"])
        time = wanted.first_ms + np.arange(2) * 3_600_000
        last_ms = min(wanted.last_ms, 4 * 3_600_000)
        time = time[time <= last_ms]
        if not len(time):
            return SeriesPart("1h", time, time, (), {}, None)
        following = int(time[-1]) + 3_600_000
        is_first = wanted.first_ms == 0
        rows = np.full((3 + len(time) - 1 - is_first, 2), wanted.first_ms / 3_600_000, np.float32)
        return SeriesPart(
            "1h",
            time,
            np.where(time > 0, time + 5, 0),
            (WindowRun(int(is_first), rows),),
            {0: "incomplete_window"} if is_first else {},
            following if following <= last_ms else None,
        )


class FakeRecorder:
    """Keeps the records of predictions."""

    def __init__(self):
        self.records = []

    def record(self, record):
        self.records.append(record)


class FakeConfirmation:
    """A serving state that is confirmed from the start, or never."""

    def __init__(self, error=None):
        self.error, self.confirmed = error, error is None

    async def confirm(self):
        raise self.error


@dataclass(frozen=True)
class FakeDependencies:
    """Components with these problems, by name."""

    problems: dict[str, str]


class FakeExperiments:
    """One running experiment, and predictions p1 (no outcome yet) and p2 (0.1)."""

    def __init__(self, final_report=None):
        self.outcomes = {"p1": None, "p2": 0.1}
        self.calls = 0
        self.stored = StoredExperiment(
            definition=ExperimentDefinition(**DEFINITION),
            status=ExperimentStatus.RUNNING,
            started_at=NOW,
            ended_at=None,
            end_reason=None,
            final_report=final_report,
        )

    async def experiment(self, experiment_id):
        if experiment_id != "v1_vs_v2":
            raise NoSuchExperimentError(experiment_id, f"no experiment {experiment_id!r}")
        return self.stored

    async def experiments(self):
        return [self.stored]

    async def history(self, experiment_id):
        return [HistoryEntry(time=NOW, action="created", details={})]

    async def blocks(self, experiment_id):
        return []

    async def analyse(self, experiment, exposed_at):
        clock = BlockClock.of(experiment.definition, experiment.started_at)
        return InterimAnalysis(analyse(experiment.definition, clock, []), 0)

    async def record_outcomes(self, outcomes):
        self.calls += 1
        return [self._record(outcome) for outcome in outcomes]

    def _record(self, outcome):
        name = outcome.prediction_id
        if name not in self.outcomes:
            missing = OutcomeResult.UNRECORDED if issue_time(name) else OutcomeResult.UNKNOWN
            return RecordedOutcome(outcome, missing, None)
        known = self.outcomes[name]
        if known is None:
            self.outcomes[name] = outcome.market_return
            return RecordedOutcome(outcome, OutcomeResult.ACCEPTED, outcome.market_return)
        same = known == outcome.market_return
        result = OutcomeResult.DUPLICATE if same else OutcomeResult.CONFLICT
        return RecordedOutcome(outcome, result, known)


class FakeBars:
    """Two hourly bars of EURUSD; a push stores nothing and accepts all bars."""

    timeframe = Timeframe.parse("1h")
    bars = KnownBars(np.array([0, 7_200_000]), np.ones((5, 2)), np.array([3_600_000, 10_800_000]))

    async def append(self, pushes):
        return PushReport(accepted=sum(len(push.bars) for push in pushes))

    async def append_stream(self, body, symbol, timeframe):
        raise InvalidRequestError("body", "an Arrow IPC stream of bars", "another one")

    async def query(self, query):
        if query.symbol != "EURUSD":
            raise UnknownSymbolError(query.symbol, None, ["EURUSD"])
        gaps = find_gaps(self.bars.time, self.timeframe)
        return BarPage("EURUSD", self.timeframe, self.bars, gaps, None, KnownBars.empty())

    async def query_stream(self, query):
        await self.query(query)
        return b"stream"

    async def symbols(self):
        return [SeriesStatus(SeriesSummary("EURUSD", "1h", 0, 7_200_000, 2, 1, 1), 5000)]


@dataclass
class Core:
    """The services of the core, and the parts that tests inspect or control."""

    services: Services
    predictions: PredictionService
    batches: BatchService
    status: StatusService
    backends: Backends
    fleet: FakeFleet
    recorder: FakeRecorder
    experiments: FakeExperiments
    live: LiveTable

    @property
    def records(self):
        return self.recorder.records

    async def predict(self, features=WINDOW, **fields: Any):
        return await self.predictions.predict(request(features, **fields), Stopwatch())

    async def predict_batch(self, items, max_batch_size=32):
        batch = BatchRequest(items=items, max_batch_size=max_batch_size)
        return await self.batches.predict(batch, Stopwatch())


def core(
    old=None,
    new=None,
    *,
    fleet=None,
    loads_on_demand=False,
    running=(),
    final_report=None,
    confirmation=None,
    dependencies=None,
    bars=None,
    versions=(OLD, NEW),
    pending=(),
    problems=None,
    **settings,
):
    """Return a core that serves toy:1.0.0 (production) and toy:1.1.0 (staging).

    `old` and `new` are their backends, `running` the running experiments. `pending` are the numbers
    of the versions that are served with their previous settings, `problems` why versions did not
    load.
    """
    opened = {OLD.version: old or FakeBackend(1), NEW.version: new or FakeBackend(2)}
    backends = Backends(lambda version: opened[version.metadata.version])
    backends.adopt(
        ServedVersion(
            metadata=version, settings=VersionSettings(model="toy", version=version.version)
        )
        for version in versions
    )
    table = RoutingTable(
        default_model="toy",
        versions=versions,
        stages={"toy": {"production": "1.0.0", "staging": "1.1.0"}} if versions else {},
        pinned=frozenset(VersionRef.of(version) for version in versions),
        loads_on_demand=loads_on_demand,
        experiments={one.definition.control_model_name: one for one in running},
        pending=frozenset(VersionRef("toy", number) for number in pending),
        problems={VersionRef("toy", number): why for number, why in (problems or {}).items()},
    )
    limits = RouterSettings(**settings)
    fleet, recorder = fleet or FakeFleet(), FakeRecorder()
    experiments = FakeExperiments(final_report)
    routes = Routes(table, backends, fleet)
    confirmation = confirmation or FakeConfirmation()
    live = LiveTable(FakeBarPredictor(), now_ms=lambda: round(NOW.timestamp() * 1000), grace_s=0.02)
    predictions = PredictionService(routes, recorder, limits, confirmation, live, now=lambda: NOW)
    batches = BatchService(predictions, limits.max_batch_requests)
    status = StatusService(routes, dependencies or FakeDependencies({}), now=lambda: NOW)
    services = Services(
        predictions=predictions,
        batches=batches,
        series=SeriesService(predictions, routes, FakeBarPredictor()),
        status=status,
        reloader=fleet,
        experiments=ExperimentService(fleet, experiments),
        bars=bars or FakeBars(),
        stream=LiveStream(heartbeat_s=0.05),
    )
    return Core(
        services, predictions, batches, status, backends, fleet, recorder, experiments, live
    )


def request(features=WINDOW, **fields: Any) -> PredictionRequest:
    """Return a request for one prediction."""
    return PredictionRequest(symbol="BTCUSDT", features=features, **fields)
