"""One version of one model behind dynamic batching."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from ray import serve
from ray.actor import ActorHandle

from registry.records import ModelMetadata
from serve_app.inference.prediction import Failure, Prediction, Windows, decode
from serve_app.inference.predictor import Predictor, choose_artifact, load_predictor
from serve_app.settings import VersionSettings


class ModelServer:
    """Answers windows of one version; requests that are there together run as one batch."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, metadata: ModelMetadata, settings: VersionSettings, registry: ActorHandle[Any]
    ) -> None:
        self._metadata = metadata
        artifact = choose_artifact(metadata)
        content = await registry.read_artifact.remote(metadata.name, metadata.version, artifact)
        self._predictor: Predictor = await asyncio.to_thread(
            load_predictor, content, metadata, settings.num_threads
        )
        # The decorator's own arguments are fixed when the module is imported.
        self._run_batch.set_max_batch_size(settings.batching.max_batch_size)
        self._run_batch.set_batch_wait_timeout_s(settings.batching.batch_wait_timeout_s)

    async def predict(self, window: Windows) -> Prediction | Failure:
        """Answer one window (timesteps, features)."""
        return await self._run_batch(window)

    async def ping(self) -> None:
        """Answer, to show that this replica can."""

    async def predict_many(self, windows: Windows) -> list[Prediction | Failure]:
        """Answer windows (batch, timesteps, features) in one run of the model, in their order."""
        return decode(self._predictor(windows), self._metadata.label_map)

    @serve.batch
    async def _run_batch(self, windows: Sequence[Windows]) -> list[Prediction | Failure]:
        return decode(self._predictor(np.stack(windows)), self._metadata.label_map)
