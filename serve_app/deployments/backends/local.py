"""A version inside the router's own process: no way to a replica, and no process of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from registry.errors import RegistryError
from registry.predictors import Windows
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.deployments.backends.batched_model import BatchedModel
from serve_app.deployments.memory import return_freed_memory
from serve_app.errors import OverloadedError, VersionLoadingError
from serve_app.state.serving import ServedVersion

logger = logging.getLogger(__name__)

Load = Callable[[ServedVersion], Awaitable[BatchedModel]]


class LocalBackend:
    """Loads a version in the background and runs it here.

    Args:
        version: what to load; its limits hold for each router.
        load: fetches, loads and warms it up.
    """

    def __init__(self, version: ServedVersion, load: Load) -> None:
        self._version = version
        self._model: BatchedModel | None = None
        self._problem: str | None = None
        settings = version.settings
        self._limit = settings.max_ongoing_requests + settings.max_queued_requests
        self._ongoing = 0
        self._loading = asyncio.get_running_loop().create_task(self._load(load))

    def loaded(self) -> bool:
        """Return whether it can answer."""
        return self._model is not None

    def problem(self) -> str | None:
        """Return why it could not be loaded."""
        return self._problem

    async def predict(self, window: Windows) -> Prediction | Failure:
        """Answer one window (timesteps, features)."""
        with self._counted():
            return await self._ready().predict(window)

    async def predict_many(self, windows: Windows) -> Sequence[Prediction | Failure]:
        """Answer windows (batch, timesteps, features), in order; they count as one request."""
        with self._counted():
            return await self._ready().predict_many(list(windows))

    def close(self) -> None:
        """Give up loading; calls that are under way go on."""
        self._loading.cancel()

    async def _load(self, load: Load) -> None:
        try:
            self._model = await load(self._version)
            # What the versions before this one left; a version is unloaded whenever its last
            # request ends, so that loading is the moment that can be known.
            await asyncio.to_thread(return_freed_memory)
        except RegistryError as error:
            self._problem = str(error)
        except Exception as error:
            # Whoever waits for the version must learn that it will not come.
            logger.exception("%s could not be loaded", self._version.key)
            self._problem = f"{type(error).__name__}: {error}"

    def _ready(self) -> BatchedModel:
        if self._model is None:
            metadata = self._version.metadata
            raise VersionLoadingError(metadata.name, metadata.version, self._problem)
        return self._model

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._ongoing >= self._limit:
            metadata = self._version.metadata
            problem = f"{self._ongoing} requests in work in this router, at most {self._limit}"
            raise OverloadedError(metadata.name, metadata.version, problem)
        self._ongoing += 1
        try:
            yield
        finally:
            self._ongoing -= 1
