"""One version's model behind dynamic batching, in whichever process it is loaded."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from registry.predictors import Predictor, Windows, choose_artifact, load_predictor
from registry.records import ModelMetadata
from serve_app.data_plane.batching import Batcher, wait_for_mates_s
from serve_app.data_plane.decoding import Failure, Prediction, Run, decode
from serve_app.deployments.actors.registry import registry_actor
from serve_app.deployments.backends.artifacts import fetch, node_cache
from serve_app.deployments.telemetry import run_counter
from serve_app.settings import BatchSettings, VersionSettings
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)


class BatchedModel:
    """Answers windows of one version; requests that are there together run as one batch.

    `count` is told the windows of each run.
    """

    def __init__(
        self,
        predictor: Predictor,
        metadata: ModelMetadata,
        batching: BatchSettings,
        count: Callable[[int], None],
    ) -> None:
        self._predictor = predictor
        self._metadata = metadata
        self._batching = batching
        self._batcher = Batcher(self._run_waiting, batching.max_batch_size, at_once=1)
        self._count = count
        self._turn = asyncio.Lock()
        """Held from a run to the loop's next turn: between two runs others get a hearing."""

    async def predict(self, window: Windows, company: int = 0) -> Prediction | Failure:
        """Answer one window (timesteps, features) that was checked by `as_window`.

        Args:
            window: what to answer.
            company: how many other requests its router has under way for this version.
        """
        wait_s = wait_for_mates_s(self._batching, company)
        return await self._batcher.submit((window, perf_counter()), wait_s)

    async def predict_many(self, windows: Sequence[Windows]) -> list[Prediction | Failure]:
        """Answer checked windows in their order, a full batch at a time."""
        answers: list[Prediction | Failure] = []
        step = self._batching.max_batch_size
        for start in range(0, len(windows), step):
            now_s = perf_counter()
            batch = [(window, now_s) for window in windows[start : start + step]]
            await self._turn.acquire()
            try:
                answers += self._run_waiting(batch)
            finally:
                asyncio.get_running_loop().call_soon(self._turn.release)
        return answers

    def _run_waiting(self, waiting: Sequence[tuple[Windows, float]]) -> list[Prediction | Failure]:
        """Answer windows, each with the time since when it waits."""
        began_s = perf_counter()
        results = self._run([window for window, _ in waiting])
        took_s = perf_counter() - began_s
        self._count(len(waiting))
        return [
            result.of(Run(began_s - since_s, took_s)) if isinstance(result, Prediction) else result
            for result, (_, since_s) in zip(results, waiting, strict=True)
        ]

    def _run(self, windows: Sequence[Windows]) -> list[Prediction | Failure]:
        """Answer windows in one run; where that raises, one by one, so that a bad one is alone."""
        try:
            batch = np.stack(windows) if len(windows) > 1 else windows[0][np.newaxis]
            outputs = self._predictor(batch)
        # The library that runs the model, or the user's own network, may raise anything.
        except Exception as error:
            if len(windows) > 1:
                return [answer for window in windows for answer in self._run([window])]
            logger.exception("%s failed on a window", VersionRef.of(self._metadata))
            return [Failure(f"{type(error).__name__}: {error}")]
        return decode(outputs, self._metadata.label_map)


async def load_model(
    metadata: ModelMetadata, settings: VersionSettings, registry_root: str
) -> BatchedModel:
    """Fetch a version's artifact from this node's cache or the registry, load it and warm it up.

    Raises:
        registry.errors.RegistryError: the artifact is missing, damaged, or does not run.
    """
    registry = await asyncio.to_thread(registry_actor, registry_root)
    content = await fetch(registry, metadata, choose_artifact(metadata), node_cache())
    predictor = await asyncio.to_thread(
        load_predictor, content, metadata, settings.num_threads, settings.num_gpus > 0
    )
    count = run_counter(str(VersionRef.of(metadata)))
    return BatchedModel(predictor, metadata, settings.batching, count)
