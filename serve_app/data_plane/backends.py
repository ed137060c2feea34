"""One backend per served version: the current one, and the next one while it loads."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from registry.predictors import Windows
from serve_app.data_plane.decoding import Failure, Prediction
from serve_app.state.reports import Reach
from serve_app.state.serving import Load, ServedVersion
from serve_app.versions import VersionRef


class Backend(Protocol):
    """Computes the predictions of one version."""

    def loaded(self) -> bool:
        """Return whether the version is loaded, so that it can compute predictions."""

    def problem(self) -> str | None:
        """Return why the version cannot be loaded; None while it is loaded or may still load."""

    async def predict(self, window: Windows) -> Prediction | Failure:
        """Return the prediction for one window (timesteps, features)."""

    async def predict_many(self, windows: Windows) -> Sequence[Prediction | Failure]:
        """Return the predictions for windows (batch, timesteps, features), in order."""

    def close(self) -> None:
        """Accept no new requests; those in flight are completed."""


@dataclass
class _Slot:
    version: ServedVersion
    current: Backend
    current_load: Load
    next: Backend | None
    """Replaces `current` once it is loaded; None when `current` has the version's settings."""
    used_s: float

    @property
    def serving(self) -> ServedVersion:
        """The version with the load that routers are to use."""
        return self.version.replaces or self.version


class Backends:
    """Keeps one backend per version, and replaces it once the next one is loaded.

    A version whose settings have changed keeps its current backend until then; a router that has
    just started opens the backends of both settings.

    Args:
        open_backend: starts opening a version's backend without waiting for it.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        open_backend: Callable[[ServedVersion], Backend],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_backend
        self._clock = clock
        self._slots: dict[VersionRef, _Slot] = {}

    def adopt(self, versions: Iterable[ServedVersion]) -> None:
        """Open the missing backends of these versions, and close those of all others."""
        wanted = {version.ref: version for version in versions}
        for ref in [ref for ref in self._slots if ref not in wanted]:
            self._close(self._slots.pop(ref))
        for ref, version in wanted.items():
            slot = self._slots.get(ref)
            if slot is None:
                slot = self._slots[ref] = self._opened(version.replaces or version)
            elif slot.version.load != version.load and slot.next is not None:
                slot.next.close()
                slot.next = None
            slot.version = version
            if slot.next is None and slot.current_load != version.load:
                slot.next = self._open(version)

    def use(self, ref: VersionRef) -> Backend | None:
        """Return the backend of a version for a request; None if there is none."""
        slot = self._slots.get(ref)
        if slot is None:
            return None
        slot.used_s = self._clock()
        return self._replaced_if_loaded(slot).current

    def loaded(self, ref: VersionRef) -> bool:
        """Return whether a version can compute predictions."""
        return self._replaced_if_loaded(self._slots[ref]).current.loaded()

    def missing_inside(self) -> Mapping[VersionRef, str | None]:
        """Return the versions that run inside the other routers but not in this one, and why not.

        The reason is None while the version is loading.
        """
        return {
            ref: slot.current.problem()
            for ref, slot in self._slots.items()
            if slot.serving.settings.placement == "router"
            and slot.serving.ready
            and not self._replaced_if_loaded(slot).current.loaded()
        }

    def reaches(self) -> Mapping[VersionRef, Reach]:
        """Return how this router reaches every version."""
        return {ref: self._reach(slot) for ref, slot in self._slots.items()}

    def _reach(self, slot: _Slot) -> Reach:
        now_s = self._clock()
        loaded = self._replaced_if_loaded(slot).next is None and slot.current.loaded()
        if not loaded:
            slot.used_s = now_s  # a version that cannot respond is not idle
        problem = (slot.next or slot.current).problem()
        return Reach(loaded=loaded, problem=problem, idle_s=now_s - slot.used_s)

    def close(self) -> None:
        """Close all backends."""
        self.adopt(())

    def _opened(self, version: ServedVersion) -> _Slot:
        return _Slot(version, self._open(version), version.load, None, self._clock())

    def _replaced_if_loaded(self, slot: _Slot) -> _Slot:
        # The first of several new replicas must not receive the load of all old ones.
        is_due = slot.version.takes_over or not slot.current.loaded()
        if slot.next is not None and slot.next.loaded() and is_due:
            slot.current.close()
            slot.current, slot.next = slot.next, None
            slot.current_load = slot.version.load
        return slot

    def _close(self, slot: _Slot) -> None:
        slot.current.close()
        if slot.next is not None:
            slot.next.close()
