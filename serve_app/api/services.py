"""The core as a front end sees it, independent of any protocol."""

from dataclasses import dataclass

from serve_app.bars.ports import BarStore
from serve_app.control_plane.experiment_service import ExperimentService
from serve_app.control_plane.reloads import Reloader
from serve_app.data_plane.batches import BatchService
from serve_app.data_plane.live_stream import LiveStream
from serve_app.data_plane.predictions import PredictionService
from serve_app.data_plane.series import SeriesService
from serve_app.data_plane.status import StatusService


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services that front ends call.

    They accept and return typed values and raise leaves of `serve_app.errors.ServingError`, each of
    which has a `code`. A front end decodes requests, encodes responses, and maps errors.
    """

    predictions: PredictionService
    batches: BatchService
    series: SeriesService
    status: StatusService
    reloader: Reloader
    experiments: ExperimentService
    bars: BarStore
    stream: LiveStream
