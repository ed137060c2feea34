"""Resolves the name in a request to a version and the backend that computes its predictions."""

from typing import NamedTuple

from registry.layout import is_version
from registry.records import ModelMetadata
from serve_app.data_plane.backends import Backend, Backends
from serve_app.data_plane.ports import OnDemandLoader
from serve_app.errors import (
    NotRegisteredError,
    NotServedError,
    UnusableVersionError,
    VersionLoadingError,
)
from serve_app.state.routing import RoutingTable
from serve_app.versions import VersionRef


class Route(NamedTuple):
    """The version of a request and its backend.

    A request keeps its route until it completes, even if the version leaves the routing table
    first.
    """

    version: VersionRef
    metadata: ModelMetadata
    backend: Backend

    def ready_backend(self) -> Backend:
        """Return the backend.

        Raises:
            VersionLoadingError: the version is not loaded.
        """
        if not self.backend.loaded():
            raise VersionLoadingError(*self.version, self.backend.problem())
        return self.backend


class Routes:
    """The routing table that requests follow, with the backends of its versions.

    Args:
        table: the first routing table.
        backends: one per version of the table.
        loader: loads registered versions that are not in the table, if the table allows it.
    """

    def __init__(self, table: RoutingTable, backends: Backends, loader: OnDemandLoader) -> None:
        self._table = table
        self._backends = backends
        self._loader = loader

    @property
    def table(self) -> RoutingTable:
        """The routing table that requests follow."""
        return self._table

    def adopt(self, table: RoutingTable) -> None:
        """Follow `table` from the next request on; each of its versions must have a backend."""
        self._table = table

    def is_loaded(self, version: VersionRef) -> bool:
        """Return whether a version of the table can compute predictions."""
        return self._backends.loaded(version)

    async def find(self, model: str | None, reference: str | None) -> Route:
        """Return the route of a request.

        Args:
            model: None selects the default model.
            reference: a version or the name of a stage; None selects production.

        Raises:
            NotServedError: the version is not served, and cannot be loaded on demand.
            VersionLoadingError: the version is not served yet; it is being loaded on demand.
            TooManyVersionsError: the limit of versions loaded on demand is reached.
        """
        try:
            metadata = self._table.choose(model, reference)
        except NotServedError as missing:
            await self._load_on_demand(missing)
            raise
        return self.route_to(metadata)

    def route_to(self, metadata: ModelMetadata) -> Route:
        """Return the route to a version of the table.

        Raises:
            NotServedError: the version is no longer served.
        """
        version = VersionRef.of(metadata)
        backend = self._backends.use(version)
        if backend is None:
            raise NotServedError(*version, self._table.served)
        return Route(version, metadata, backend)

    async def _load_on_demand(self, missing: NotServedError) -> None:
        model, version = missing.model, missing.version
        if not self._table.loads_on_demand or version is None or not is_version(version):
            return
        try:
            await self._loader.request(model, version)
        except NotRegisteredError:
            return
        except UnusableVersionError as error:
            raise VersionLoadingError(model, version, error.problem) from error
        raise VersionLoadingError(model, version, "it is being loaded")
