"""One version's model behind dynamic batching, in whichever process it is loaded."""

import asyncio
import logging
from collections.abc import Sequence

import numpy as np
from ray import serve

from registry.predictors import Predictor, Windows, choose_artifact, load_predictor
from registry.records import ModelMetadata
from serve_app.deployments.artifacts import fetch, node_cache
from serve_app.deployments.registry_actor import registry_actor
from serve_app.inference.prediction import Failure, Prediction, decode
from serve_app.routing import version_key
from serve_app.settings import BatchSettings, VersionSettings

logger = logging.getLogger(__name__)


CROWD = 8
"""Others under way from which on a request waits for batch-mates."""


class BatchedModel:
    """Answers windows of one version; requests that are there together run as one batch."""

    def __init__(
        self, predictor: Predictor, metadata: ModelMetadata, batching: BatchSettings
    ) -> None:
        self._predictor = predictor
        self._metadata = metadata
        self._max_batch_size = batching.max_batch_size
        # The decorator's own arguments are fixed when the module is imported.
        self._run_batch.set_max_batch_size(batching.max_batch_size)  # type: ignore[attr-defined]
        self._wait_s = batching.batch_wait_timeout_s
        self._crowded_wait_s = max(self._wait_s, batching.crowded_wait_timeout_s)
        self._present_wait_s = self._wait_s
        self._run_batch.set_batch_wait_timeout_s(self._wait_s)  # type: ignore[attr-defined]

    async def predict(self, window: Windows, company: int = 0) -> Prediction | Failure:
        """Answer one window (timesteps, features) that was checked by `as_window`.

        Args:
            window: what to answer.
            company: how many other requests its router has under way for this version.
        """
        wait_s = self._crowded_wait_s if company >= CROWD else self._wait_s
        if wait_s != self._present_wait_s:
            self._run_batch.set_batch_wait_timeout_s(wait_s)  # type: ignore[attr-defined]
            self._present_wait_s = wait_s
        return await self._run_batch(window)

    async def predict_many(self, windows: Sequence[Windows]) -> list[Prediction | Failure]:
        """Answer checked windows in their order, a full batch at a time."""
        answers: list[Prediction | Failure] = []
        for start in range(0, len(windows), self._max_batch_size):
            answers += self._run(windows[start : start + self._max_batch_size])
            await asyncio.sleep(0)  # lets lone requests in between
        return answers

    @serve.batch
    async def _run_batch(self, windows: Sequence[Windows]) -> list[Prediction | Failure]:
        return self._run(windows)

    def _run(self, windows: Sequence[Windows]) -> list[Prediction | Failure]:
        """Answer windows in one run; where that raises, one by one, so that a bad one is alone."""
        try:
            outputs = self._predictor(np.stack(windows))
        # The library that runs the model, or the user's own network, may raise anything.
        except Exception as error:
            if len(windows) > 1:
                return [answer for window in windows for answer in self._run([window])]
            logger.exception("%s failed on a window", version_key(self._metadata))
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
    return BatchedModel(predictor, metadata, settings.batching)
