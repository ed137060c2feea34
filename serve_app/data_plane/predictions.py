"""One prediction: select the version, check the window, run the model, record the response."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from registry.predictors import Windows
from registry.records import ModelMetadata
from serve_app.data_plane.breakers import Breakers
from serve_app.data_plane.deadlines import current_deadline
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.data_plane.live_results import LiveResult, LiveTable, LiveWindow, SymbolBar
from serve_app.data_plane.ports import PredictionRecorder, StateConfirmation
from serve_app.data_plane.requests import PredictionRequest
from serve_app.data_plane.responses import PredictionResponse
from serve_app.data_plane.routes import Route, Routes
from serve_app.data_plane.timing import Stopwatch, TimingSection
from serve_app.data_plane.variant_runner import ExperimentRequest, VariantRunner
from serve_app.data_plane.windows import as_window
from serve_app.errors import ModelOutputError, NoFeatureSetError
from serve_app.experiments.prediction_ids import new_prediction_id
from serve_app.experiments.records import PredictionRecord, Variant
from serve_app.experiments.running import RunningExperiment
from serve_app.settings import RouterSettings
from serve_app.state.routing import RoutingTable
from serve_app.versions import VersionRef


class PredictionService:
    """Serves single predictions, inside and outside experiments.

    Its methods raise leaves of `serve_app.errors.ServingError`.

    Args:
        routes: resolve a request to a version and its backend.
        recorder: records every prediction.
        settings: the router's limits.
        live: the predictions of the server's own windows.
        confirmation: reports whether the router may serve.
        now: returns the time of a response.
    """

    def __init__(
        self,
        routes: Routes,
        recorder: PredictionRecorder,
        settings: RouterSettings,
        confirmation: StateConfirmation,
        live: LiveTable,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._routes = routes
        self._recorder = recorder
        self._breakers = Breakers(settings.breaker)
        self._variants = VariantRunner(
            self._run,
            recorder,
            self._breakers,
            settings.treatment_timeout_s,
            settings.request_timeout_s,
        )
        self._confirmation = confirmation
        self._live = live
        self._now = now

    def adopt(self, table: RoutingTable) -> None:
        """Follow `table` from the next request on; each of its versions must have a backend."""
        self._routes.adopt(table)
        self._breakers.keep([running.experiment_id for running in table.experiments.values()])

    def tripped(self) -> frozenset[str]:
        """Return the experiments in which this router withholds ordinary traffic from treatment."""
        return self._breakers.tripped()

    def experiment(self, request: PredictionRequest) -> RunningExperiment | None:
        """Return the experiment that routes a request; None if there is none."""
        return self._routes.table.experiment(request.model_name, request.model_version)

    async def confirm(self) -> None:
        """Return once the router may serve.

        Raises:
            UnconfirmedStateError: the router may follow an older serving state.
        """
        if not self._confirmation.confirmed:
            await self._confirmation.confirm()

    async def predict(self, request: PredictionRequest, watch: Stopwatch) -> PredictionResponse:
        """Serve one request; `watch` already covers reading and parsing its body."""
        if not self._confirmation.confirmed:
            await self._confirmation.confirm()
        current_deadline.get().check()
        running = self.experiment(request)
        if request.features is None:
            return await self._predict_by_symbol(running, request, watch)
        if running is not None:
            return await self._predict_in_experiment(running, request, watch)
        route = await self._routes.find(request.model_name, request.model_version)
        window = as_window(request.features, route.metadata)
        watch.lap(TimingSection.ROUTE)
        result = await route.ready_backend().predict(window)
        watch.lap_of_run(result.run if isinstance(result, Prediction) else None)
        return self.respond(request, route, result, watch)

    async def prepare(self, request: PredictionRequest) -> tuple[Route, Windows]:
        """Return the route and the checked window of a request outside experiments."""
        route = await self._routes.find(request.model_name, request.model_version)
        return route, as_window(request.features, route.metadata)

    def respond(
        self,
        request: PredictionRequest,
        route: Route,
        result: Prediction | Failure,
        watch: Stopwatch,
        window: LiveResult | None = None,
    ) -> PredictionResponse:
        """Return the response to a request outside experiments, and record it.

        Raises:
            ModelOutputError: the output of the model is not a prediction.
            DeadlinePassedError: the caller has no use for it any more.
        """
        current_deadline.get().check()
        if isinstance(result, Failure):
            raise ModelOutputError(*route.version, result.problem)
        now = self._now()
        response = PredictionResponse(
            prediction_id=new_prediction_id(now),
            symbol=request.symbol,
            prediction=result,
            version=route.version,
            time=now,
            latency_ms=watch.since_read_ms(),
            window=window,
        )
        self._recorder.record(
            PredictionRecord(
                prediction_id=response.prediction_id,
                time=response.time,
                model=route.version.model,
                version=route.version.version,
                symbol=request.symbol,
                latency_ms=response.latency_ms,
                **result.recorded,
                **(window.recorded if window is not None else {}),
            )
        )
        return response

    async def _predict_by_symbol(
        self, running: RunningExperiment | None, request: PredictionRequest, watch: Stopwatch
    ) -> PredictionResponse:
        """Serve a request by the server's own window of the symbol.

        In an experiment both variants use the window that ends with the same bar.
        """
        if running is None:
            route = await self._routes.find(request.model_name, request.model_version)
            metadata = route.metadata
        else:
            metadata = self._routes.table.variant(running, Variant.CONTROL)
        window = await self._find_window(metadata, request.symbol, request.timeframe, request.bar)
        prediction = window.prediction()
        now_ms = self._now().timestamp() * 1e3
        window.check_age(request.max_age_s, now_ms, is_named=request.bar is not None)
        watch.lap(TimingSection.ROUTE)
        if running is None:
            return self.respond(request, route, prediction, watch, window)
        selected = request._replace(features=window.symbol_bar)
        response = await self._predict_in_experiment(running, selected, watch)
        if response.version != window.version:
            window = await self._live.find(response.version, request.symbol, None, window.bar_ms)
        return response._replace(window=window)

    async def window(self, request: PredictionRequest) -> tuple[LiveWindow, Sequence[str]]:
        """Return the server's window for a request without features, and the features' names.

        Raises:
            ServingError: there is no window; the age of its last bar does not matter.
        """
        await self.confirm()
        route = await self._routes.find(request.model_name, request.model_version)
        found = await self._find_window(
            route.metadata, request.symbol, request.timeframe, request.bar
        )
        window = await self._live.window(found)
        assert route.metadata.feature_set is not None
        return window, route.metadata.feature_set.feature_names

    async def _find_window(
        self, metadata: ModelMetadata, symbol: str, timeframe: str | None, bar_ms: int | None
    ) -> LiveResult:
        version = VersionRef.of(metadata)
        if metadata.feature_set is None:
            raise NoFeatureSetError(*version)
        return await self._live.find(version, symbol, timeframe, bar_ms)

    async def _predict_in_experiment(
        self, running: RunningExperiment, request: PredictionRequest, watch: Stopwatch
    ) -> PredictionResponse:
        now = self._now()
        experiment_request = ExperimentRequest(
            prediction_id=new_prediction_id(now),
            symbol=request.symbol,
            unit_id=request.unit_id,
            features=request.features,
            time=now,
        )
        watch.lap(TimingSection.ROUTE)
        result = await self._variants.predict(self._routes.table, running, experiment_request)
        watch.lap_of_run(result.prediction.run)
        return PredictionResponse(
            prediction_id=experiment_request.prediction_id,
            symbol=request.symbol,
            prediction=result.prediction,
            version=result.version,
            time=self._now(),
            latency_ms=watch.since_read_ms(),
            variant=result.variant,
            fallback=result.fallback,
        )

    async def _run(self, metadata: ModelMetadata, features: object) -> Prediction:
        if isinstance(features, SymbolBar):
            found = await self._find_window(metadata, features.symbol, None, features.bar_ms)
            return found.prediction()
        window = as_window(features, metadata)
        route = self._routes.route_to(metadata)
        result = await route.ready_backend().predict(window)
        if isinstance(result, Failure):
            raise ModelOutputError(*route.version, result.problem)
        return result
