"""The router's deployment: serves HTTP and handles, and follows the serving state."""

import asyncio
import logging
import time
from typing import Any

from ray import serve
from ray.actor import ActorHandle
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from serve_app.access.control import AccessControl
from serve_app.access.quotas import Limits
from serve_app.access.token_follower import TokenFollower
from serve_app.access.token_source import ReadTokens, Revision
from serve_app.api.rest.app import build_rest_api
from serve_app.api.rest.encoding import prediction_document
from serve_app.api.rest.parsing import parse_predict
from serve_app.api.services import Services
from serve_app.control_plane.experiment_service import ExperimentService
from serve_app.data_plane.backends import Backend, Backends
from serve_app.data_plane.batches import BatchService
from serve_app.data_plane.dependencies import Dependencies
from serve_app.data_plane.live_results import LiveTable
from serve_app.data_plane.live_stream import LiveStream
from serve_app.data_plane.predictions import PredictionService
from serve_app.data_plane.routes import Routes
from serve_app.data_plane.series import SeriesService
from serve_app.data_plane.state_follower import StateFollower
from serve_app.data_plane.status import StatusService
from serve_app.data_plane.timing import Stopwatch
from serve_app.deployments.actors.bar_log import bar_log
from serve_app.deployments.actors.bar_log_client import BarLogClient
from serve_app.deployments.actors.experiment_log import experiment_log
from serve_app.deployments.actors.experiment_log_client import ExperimentLogClient
from serve_app.deployments.actors.outbox import Outbox
from serve_app.deployments.actors.registry import FollowedTokens, registry_actor
from serve_app.deployments.fast_path import FastPath
from serve_app.deployments.fleet_client import FleetClient
from serve_app.deployments.fleet_ports import BroadcastRouters
from serve_app.deployments.grpc_server import listen_on_node_address
from serve_app.deployments.heartbeats import HeartbeatServer, listener_for_haproxy
from serve_app.deployments.live_client import LivePredictorClient
from serve_app.deployments.logs import log_through_serve
from serve_app.deployments.opening import open_backend
from serve_app.deployments.ray_errors import RAY_ERRORS, raising_cause
from serve_app.deployments.telemetry import request_counter, timing_histogram
from serve_app.errors import (
    FleetUnavailableError,
    ServingError,
    UnconfirmedStateError,
    VersionLoadingError,
)
from serve_app.live.noted_bars import NotedBars
from serve_app.settings import AppSettings
from serve_app.state.reports import RouterReport
from serve_app.state.routing import RoutingTable
from serve_app.state.serving import ServedVersion, ServingState
from serve_app.timeouts import (
    ROUTER_READY_OTHERS_S,
    ROUTER_READY_S,
    ROUTER_READY_SYMBOLS_S,
    VERSION_LOAD_S,
)
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)


@serve.ingress()
class Router:
    """Validates requests, selects their versions and computes them with at most one hop."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, settings: AppSettings, fleet: DeploymentHandle[Any]
    ) -> None:
        log_through_serve()
        listen_on_node_address()
        heartbeats = listener_for_haproxy(serve.get_replica_context().replica_tag)
        if heartbeats is not None:
            HeartbeatServer(heartbeats)
        self._settings = settings
        self._application = serve.get_replica_context().app_name
        self._follower = StateFollower(self._read_state, self._apply)
        self._registry: ActorHandle[Any] = await asyncio.to_thread(
            registry_actor, settings.registry_root
        )
        self._shortage: str | None = None
        self._tokens = tokens = TokenFollower(self._read_tokens)
        access = settings.access
        limits = Limits(access.requests_per_s, access.max_concurrent_requests)
        self._access = AccessControl(await tokens.first(), limits, anonymous=access.anonymous)
        log = await asyncio.to_thread(experiment_log, settings, self._application)
        bars = BarLogClient(await asyncio.to_thread(bar_log, settings))
        self._outbox = Outbox(log, settings.experiments.record_all)
        self._backends = Backends(self._open_backend)
        client = FleetClient(fleet)
        table = RoutingTable(default_model=settings.usual_model)
        self._routes = Routes(table, self._backends, client)
        self._predictor = LivePredictorClient(settings.registry_root, self._application)
        self._live = LiveTable(self._predictor)
        self._stream = LiveStream()
        self._predictions = PredictionService(
            self._routes, self._outbox, settings.router, self._follower, self._live
        )
        experiments = ExperimentLogClient(log, self._application)
        dependencies = Dependencies(
            {
                "experiment_log": experiments.problem,
                "bar_log": bars.problem,
                "recording": self._outbox.problem,
                "registry": self._registry_problem,
                "fleet": client.problem,
                "predictor": self._predictor.problem,
            }
        )
        self._services = Services(
            predictions=self._predictions,
            batches=BatchService(self._predictions, settings.router.max_batch_requests),
            series=SeriesService(self._predictions, self._routes, self._predictor),
            status=StatusService(self._routes, dependencies),
            reloader=client,
            experiments=ExperimentService(client, experiments),
            bars=NotedBars(bars, self._live),
            stream=self._stream,
        )
        await self._wait_until_ready()
        await self._require_versions_inside()
        loop = asyncio.get_running_loop()
        self._background_tasks = [
            loop.create_task(self._follower.follow_forever()),
            loop.create_task(self._outbox.send_forever()),
            loop.create_task(dependencies.watch_forever()),
            loop.create_task(tokens.follow_forever(self._access.adopt)),
        ]

    def __serve_build_asgi_app__(self) -> ASGIApp:
        settings = self._settings.router
        api = build_rest_api(
            self._services,
            settings,
            timing_histogram(),
            request_counter(),
            self._access,
        )
        api.openapi()  # takes 0.1 s, for which the first request for it would hold the event loop
        self.fast_path = FastPath(api, settings.max_ongoing_requests)
        return api

    async def predict(
        self,
        symbol: str,
        features: object = None,
        model_name: str | None = None,
        model_version: str | None = None,
        unit_id: str | None = None,
        timeframe: str | None = None,
        bar: int | None = None,
        max_age_s: float | None = None,
    ) -> dict[str, Any]:
        """Return the prediction for one window through a handle, in the form that HTTP returns.

        The arguments are the fields of `PredictionRequest`; `features` may be an array.
        """
        document: dict[str, object] = {
            "symbol": symbol,
            "model_name": model_name,
            "model_version": model_version,
            "unit_id": unit_id,
            "timeframe": timeframe,
            "bar": bar,
            "max_age_s": max_age_s,
        }
        if features is not None:
            document["features"] = features
        request, _ = parse_predict(document)
        return prediction_document(await self._predictions.predict(request, Stopwatch()))

    async def adopt(self, state: ServingState) -> None:
        """Follow `state` from the next request on, unless this router follows a newer one."""
        self._follower.adopt(state)

    async def report(self) -> RouterReport:
        """Return which state this router follows and which versions it reaches."""
        return RouterReport(
            serve.get_replica_context().replica_tag,
            self._follower.revision,
            self._backends.reaches(),
            self._predictions.tripped(),
        )

    async def check_health(self) -> None:
        """Raise if a background task of this router has ended, so that Serve replaces it."""
        if any(task.done() for task in self._background_tasks):
            raise FleetUnavailableError("a background task of the router has ended")

    async def _wait_until_ready(self) -> None:
        for timeout_s, is_ready in (
            (ROUTER_READY_S, self._reaches_default_version),
            (ROUTER_READY_OTHERS_S, self._reaches_pinned_versions),
            (ROUTER_READY_SYMBOLS_S, self._has_predictions),
        ):
            try:
                async with asyncio.timeout(timeout_s):
                    while not await is_ready():  # noqa: ASYNC110  no event signals it
                        await asyncio.sleep(0.05)
            except TimeoutError:
                logger.warning("accepting requests while versions are not loaded")
                return

    async def _require_versions_inside(self) -> None:
        """Return once this router runs the versions that run inside the other ones, if any serve.

        Raises:
            VersionLoadingError: one does not load here. The other routers then keep serving.
        """
        waits_until_s = time.monotonic() + VERSION_LOAD_S
        routers = BroadcastRouters(self._application)
        while missing := self._backends.missing_inside():
            listed = await routers.replicas()
            if not listed.serving - {serve.get_replica_context().replica_tag}:
                return
            for ref, problem in missing.items():
                if problem is not None or time.monotonic() > waits_until_s:
                    raise VersionLoadingError(*ref, problem)
            await asyncio.sleep(0.5)

    async def _reaches_default_version(self) -> bool:
        await self._follower.catch_up()
        model = self._settings.usual_model
        production = self._routes.table.stages.get(model, {}).get("production")
        if production is None:
            return self._follower.revision > 0
        return self._backends.loaded(VersionRef(model, production))

    async def _reaches_pinned_versions(self) -> bool:
        await self._follower.catch_up()
        return all(self._backends.loaded(ref) for ref in self._routes.table.pinned)

    async def _has_predictions(self) -> bool:
        return self._live.is_caught_up or not self._predictor.is_started

    async def _read_state(self, known_revision: int) -> ServingState | None:
        try:
            state: ServingState | None = await self._registry.serving_state.remote(
                self._application, known_revision
            )
        except RAY_ERRORS as error:
            # The registry actor restarts by itself; until then the last state holds.
            raise UnconfirmedStateError(f"the registry actor failed: {error!r}"[:200]) from error
        return state

    async def _read_tokens(self, known: Revision | None) -> ReadTokens | None:
        try:
            with raising_cause(ServingError):
                followed: FollowedTokens = await self._registry.follow_tokens.remote(
                    str(self._settings.token_file), known
                )
        except RAY_ERRORS as error:
            raise UnconfirmedStateError(f"the registry actor failed: {error!r}"[:200]) from error
        self._shortage = followed.shortage
        return followed.tokens

    async def _registry_problem(self) -> str | None:
        return await self._tokens.problem() or self._shortage

    def _apply(self, state: ServingState) -> None:
        # Without an await in between, so that no request finds a version without a backend.
        self._backends.adopt(state.versions)
        self._predictions.adopt(state.routing_table())
        if any(version.metadata.feature_set is not None for version in state.versions):
            self._predictor.start(self._live, self._stream)

    def _open_backend(self, version: ServedVersion) -> Backend:
        return open_backend(version, self._application, self._settings)
