"""One version of one model behind dynamic batching."""

import asyncio
from collections.abc import Sequence

import numpy as np
from ray import serve

from registry.predictors import Predictor, Windows, choose_artifact, load_predictor
from registry.records import ModelMetadata
from serve_app.deployments.artifacts import fetch, node_cache
from serve_app.deployments.logs import log_through_serve
from serve_app.deployments.registry_actor import registry_actor
from serve_app.inference.prediction import Failure, Prediction, decode
from serve_app.parsing import as_window
from serve_app.settings import VersionSettings


class ModelServer:
    """Answers windows of one version; requests that are there together run as one batch."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, metadata: ModelMetadata, settings: VersionSettings, registry_root: str
    ) -> None:
        log_through_serve()
        self._metadata = metadata
        artifact = choose_artifact(metadata)
        registry = await asyncio.to_thread(registry_actor, registry_root)
        content = await fetch(registry, metadata, artifact, node_cache())
        self._predictor: Predictor = await asyncio.to_thread(
            load_predictor, content, metadata, settings.num_threads
        )
        self._max_batch_size = settings.batching.max_batch_size
        # The decorator's own arguments are fixed when the module is imported.
        self._run_batch.set_max_batch_size(self._max_batch_size)  # type: ignore[attr-defined]
        self._run_batch.set_batch_wait_timeout_s(  # type: ignore[attr-defined]
            settings.batching.batch_wait_timeout_s
        )

    async def predict(self, window: Windows) -> Prediction | Failure:
        """Answer one window (timesteps, features); InvalidFeaturesError for any other.

        The router has checked it already. A researcher's handle leads here directly, and a bad
        window must fail alone, not the whole batch.
        """
        return await self._run_batch(as_window(window, self._metadata.input_shape))

    async def ping(self) -> None:
        """Answer, to show that this replica can."""

    async def predict_many(self, windows: Windows) -> list[Prediction | Failure]:
        """Answer windows (batch, timesteps, features) in their order, a full batch at a time."""
        checked = [as_window(window, self._metadata.input_shape) for window in windows]
        answers: list[Prediction | Failure] = []
        for start in range(0, len(checked), self._max_batch_size):
            batch = np.stack(checked[start : start + self._max_batch_size])
            answers += decode(self._predictor(batch), self._metadata.label_map)
            await asyncio.sleep(0)  # lets lone requests in between
        return answers

    @serve.batch
    async def _run_batch(self, windows: Sequence[Windows]) -> list[Prediction | Failure]:
        return decode(self._predictor(np.stack(windows)), self._metadata.label_map)
