"""One version's model with dynamic batching; the same in a replica and in a router."""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from registry.predictors import Predictor, Windows, choose_artifact, load_predictor
from registry.records import ModelMetadata
from registry.signatures import check_signed
from registry.trial_run import TrialLimits, limited, shared_process
from serve_app.data_plane.decoding import Failure, Prediction, Run
from serve_app.data_plane.dynamic_batching import Batcher, batch_wait_s
from serve_app.data_plane.regression import decoder_of
from serve_app.deployments.actors.registry import registry_actor
from serve_app.deployments.backends.artifacts import fetch, node_cache
from serve_app.deployments.telemetry import run_counter
from serve_app.settings import BatchSettings, VersionSettings
from serve_app.versions import VersionRef

logger = logging.getLogger(__name__)

LOAD_CPU_S = 30.0
"""Processor time in which a replica loads its model, including the import of the library, which
takes 2 s; a version passes a trial run with closer limits before it enters a stage."""


class BatchedModel:
    """Runs the model of one version; requests that wait at the same time form a batch.

    Args:
        predictor: the loaded model.
        metadata: metadata of its version.
        batching: the batch size and the waiting times.
        count_run: called with the number of windows of each run.
    """

    def __init__(
        self,
        predictor: Predictor,
        metadata: ModelMetadata,
        batching: BatchSettings,
        count_run: Callable[[int], None],
    ) -> None:
        self._predictor = predictor
        self._metadata = metadata
        self._decode = decoder_of(metadata)
        self._batching = batching
        self._batcher = Batcher(self._run_waiting, batching.max_batch_size, max_in_flight=1)
        self._count_run = count_run
        self._run_lock = asyncio.Lock()
        """Held from a run to the event loop's next iteration, so that IO happens between runs."""

    async def predict(self, window: Windows, others_in_flight: int = 0) -> Prediction | Failure:
        """Return the prediction for one window (timesteps, features) checked by `as_window`.

        Args:
            window: the window.
            others_in_flight: how many other requests for this version its router has in flight.
        """
        wait_s = batch_wait_s(self._batching, others_in_flight)
        return await self._batcher.submit((window, perf_counter()), wait_s)

    async def predict_many(self, windows: Sequence[Windows]) -> list[Prediction | Failure]:
        """Return the predictions for checked windows, in order, computed in full batches."""
        results: list[Prediction | Failure] = []
        step = self._batching.max_batch_size
        for start in range(0, len(windows), step):
            now_s = perf_counter()
            batch = [(window, now_s) for window in windows[start : start + step]]
            await self._run_lock.acquire()
            try:
                results += self._run_waiting(batch)
            finally:
                asyncio.get_running_loop().call_soon(self._run_lock.release)
        return results

    def _run_waiting(self, waiting: Sequence[tuple[Windows, float]]) -> list[Prediction | Failure]:
        """Run a batch of windows, each with the time at which it was submitted."""
        started_s = perf_counter()
        results = self._run([window for window, _ in waiting])
        took_s = perf_counter() - started_s
        self._count_run(len(waiting))
        return [
            result.with_run(Run(started_s - submitted_s, took_s))
            if isinstance(result, Prediction)
            else result
            for result, (_, submitted_s) in zip(results, waiting, strict=True)
        ]

    def _run(self, windows: Sequence[Windows]) -> list[Prediction | Failure]:
        """Run windows as one batch; if that raises, one by one, so that a bad one fails alone."""
        try:
            batch = np.stack(windows) if len(windows) > 1 else windows[0][np.newaxis]
            outputs = self._predictor(batch)
        # The library that runs the model, or the user's own network, may raise any error.
        except Exception as error:
            if len(windows) > 1:
                return [result for window in windows for result in self._run([window])]
            logger.exception("%s failed on a window", VersionRef.of(self._metadata))
            return [Failure(f"{type(error).__name__}: {error}")]
        return self._decode(outputs)


async def load_model(
    metadata: ModelMetadata,
    settings: VersionSettings,
    registry_root: str,
    require_signature: tuple[str, ...] = (),
) -> BatchedModel:
    """Fetch a version's artifact from this node's cache or the registry; load it and warm it up.

    Raises:
        registry.errors.RegistryError: the artifact is missing, damaged, not signed with one of
            the keys that are required, or does not run.
    """
    check_signed(metadata, require_signature, choose_artifact(metadata))
    registry = await asyncio.to_thread(registry_actor, registry_root)
    content = await fetch(registry, metadata, choose_artifact(metadata), node_cache())
    predictor = await asyncio.to_thread(load_limited, content, metadata, settings)
    count_run = run_counter(str(VersionRef.of(metadata)))
    return BatchedModel(predictor, metadata, settings.batching, count_run)


def load_limited(content: bytes, metadata: ModelMetadata, settings: VersionSettings) -> Predictor:
    """Load a predictor; a file that takes too much time or memory affects no other version.

    In a router, which serves other versions too, the file passes a trial run in a separate process
    first. A replica serves this version only and is limited itself: it ends if loading takes more
    than LOAD_CPU_S of processor time. On a GPU the memory is not limited, since CUDA reserves many
    times of what it uses.

    Raises:
        registry.errors.RegistryError: the artifact is damaged, or does not run.
    """
    on_gpu = settings.num_gpus > 0
    if settings.placement == "router":
        shared_process().try_artifact(metadata, choose_artifact(metadata), content)
        return load_predictor(content, metadata, settings.num_threads, on_gpu)
    memory_bytes = sys.maxsize if on_gpu else TrialLimits().memory_bytes
    with limited(LOAD_CPU_S, None, memory_bytes) as start_step:
        start_step()
        return load_predictor(content, metadata, settings.num_threads, on_gpu)
