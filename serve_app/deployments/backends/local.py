"""The backend of a version that runs in the router's own process, without replicas."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from registry.errors import RegistryError
from registry.predictors import Windows
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.deployments.backends.batched_model import BatchedModel
from serve_app.deployments.memory import return_freed_memory
from serve_app.deployments.ray_errors import cause_of
from serve_app.errors import OverloadedError, VersionLoadingError
from serve_app.state.serving import ServedVersion

logger = logging.getLogger(__name__)

Load = Callable[[ServedVersion], Awaitable[BatchedModel]]


class LocalBackend:
    """Loads a version in the background and runs it in this process.

    Args:
        version: the version to load; its limits apply per router.
        load: fetches the version's model, loads it and warms it up.
    """

    def __init__(self, version: ServedVersion, load: Load) -> None:
        self._version = version
        self._model: BatchedModel | None = None
        self._problem: str | None = None
        settings = version.settings
        self._limit = settings.max_ongoing_requests + settings.max_queued_requests
        self._in_flight = 0
        self._loading = asyncio.get_running_loop().create_task(self._load(load))

    def loaded(self) -> bool:
        """Return whether the model is ready for predictions."""
        return self._model is not None

    def problem(self) -> str | None:
        """Return why the version could not be loaded, None while that is not known."""
        return self._problem

    async def predict(self, window: Windows) -> Prediction | Failure:
        """Return the prediction for one window (timesteps, features)."""
        with self._counted():
            return await self._ready().predict(window)

    async def predict_many(self, windows: Windows) -> Sequence[Prediction | Failure]:
        """Return the predictions for windows (batch, timesteps, features), in order.

        The windows count as one request.
        """
        with self._counted():
            return await self._ready().predict_many(list(windows))

    def close(self) -> None:
        """Stop loading; calls in flight are completed."""
        self._loading.cancel()

    async def _load(self, load: Load) -> None:
        try:
            self._model = await load(self._version)
            # Frees what earlier versions left. A version is unloaded when its last request ends,
            # which nothing observes; loading the next one is the moment that is known.
            await asyncio.to_thread(return_freed_memory)
        except RegistryError as error:
            self._problem = str(cause_of(error))
        except Exception as error:
            # Any error must be reported: requests and commands wait for the version.
            logger.exception("%s not loaded", self._version.ref)
            self._problem = f"{type(error).__name__}: {error}"

    def _ready(self) -> BatchedModel:
        if self._model is None:
            raise VersionLoadingError(*self._version.ref, self._problem)
        return self._model

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._in_flight >= self._limit:
            problem = f"{self._in_flight} requests in flight in this router, at most {self._limit}"
            raise OverloadedError(*self._version.ref, problem)
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
