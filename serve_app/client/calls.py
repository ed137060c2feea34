"""What the groups of ModelClient's calls need of the client."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager

from serve_app.client.encoding import Body, encode_command


class Calls(ABC):
    """Calls of one kind, for a class that implements the transport."""

    @property
    @abstractmethod
    def server_url(self) -> str:
        """The address of the server."""

    @abstractmethod
    def _report_failure(self, call: str) -> AbstractContextManager[None]:
        """Log why `call` failed, and suppress the error unless `raise_errors` is set."""

    @abstractmethod
    async def _command(self, path: str, fields: Mapping[str, object]) -> object:
        """Return the response to a command, a POST of `fields`."""

    @abstractmethod
    async def _post(self, path: str, body: Body) -> object:
        """Return the response to a POST of data for which a bot waits."""

    @abstractmethod
    async def _get(self, path: str) -> object:
        """Return the response to a GET."""

    async def _record(self, path: str, fields: Mapping[str, object]) -> object:
        """Return the response to a record, a POST of `fields` for which a bot waits."""
        return await self._post(path, Body(encode_command(fields)))
