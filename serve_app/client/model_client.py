"""ModelClient: what a bot calls."""

import functools
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from numpy.typing import ArrayLike

from serve_app.client.encoding import (
    Body,
    encode_batch,
    encode_command,
    encode_raw,
    encode_request,
)
from serve_app.client.experiments import ExperimentCalls
from serve_app.client.responses import (
    check_batch,
    check_models,
    check_prediction,
    check_success,
    failed_entry,
    is_failed,
)
from serve_app.client.transport import Deadline, Transport
from serve_app.errors import (
    ClientError,
    RequestError,
    ServerRejectedError,
    ServingError,
    UnexpectedResponseError,
)
from serve_app.timeouts import CLIENT_COMMAND_S

logger = logging.getLogger(__name__)

DEFAULT_SERVER_URL = "http://localhost:8001"
PREDICT = "/api/ml/predict"
UNSUPPORTED_MEDIA_TYPE = 415


class ModelClient(ExperimentCalls):
    """Asks a model server for predictions, within deadlines that fit a trading loop.

    A failure is logged once, as a warning, and answered with None, False or an empty list;
    with `raise_errors` it is logged and raised: a `ClientError`, or a `RequestError` for a
    request that was never sent. Connection errors and 503 are retried within the deadline.

    Usable from several event loops, each with connections of its own. Opens them on first use;
    `cleanup` (or leaving `async with`) closes those of the running loop.

    Args:
        server_url: http or https, host, port and perhaps a path in front of `/api/ml`.
        timeout_s: limit of a whole call, retries included; not of the two below.
        batch_timeout_s: limit of a whole `batch_predict`, all its bodies included.
        command_timeout_s: limit of a command such as `reload_model`, which loads a model before it
            returns; the default is longer than the server's own limits.
        connect_timeout_s: limit of one attempt to connect, which also never takes more than half
            of the time left.
        raise_errors: raise instead of answering None, False or an empty list.

    Raises:
        ValueError: the URL or a timeout cannot be used.
    """

    def __init__(
        self,
        server_url: str = DEFAULT_SERVER_URL,
        *,
        timeout_s: float = 1.0,
        batch_timeout_s: float = 5.0,
        command_timeout_s: float = CLIENT_COMMAND_S,
        connect_timeout_s: float = 0.25,
        raise_errors: bool = False,
    ) -> None:
        self._timeout_s = _check_timeout("timeout_s", timeout_s)
        self._batch_timeout_s = _check_timeout("batch_timeout_s", batch_timeout_s)
        self._command_timeout_s = _check_timeout("command_timeout_s", command_timeout_s)
        connect_timeout_s = _check_timeout("connect_timeout_s", connect_timeout_s)
        self._transport = Transport(_check_url(server_url), connect_timeout_s)
        self._raise_errors = raise_errors
        self._sends_raw = True

    @property
    def server_url(self) -> str:
        """Where the server is, without a slash at the end."""
        return self._transport.server_url

    async def initialize(self) -> None:
        """Open the session that calls use; connections follow with the first call."""
        await self._transport.open()

    async def cleanup(self) -> None:
        """Close the connections; a later call opens new ones."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.cleanup()

    async def predict(
        self,
        symbol: str,
        features: ArrayLike,
        model_name: str | None = None,
        model_version: str | None = None,
        unit_id: str | None = None,
    ) -> dict[str, Any] | None:
        """Return the server's answer for one window, or None if there is none.

        Args:
            symbol: what is traded, for example BTCUSDT.
            features: (timesteps, features), or flat in row order; sent as float32.
            model_name: the server's default model if None.
            model_version: a version, `production` or `staging`; production if None.
            unit_id: keeps whoever it names in one variant of an experiment.

        Raises:
            ClientError: no answer; only with `raise_errors`, as the next.
            InvalidFeaturesError: features that are not finite numbers; nothing was sent.
            InvalidRequestError: another field that cannot be sent.
        """
        deadline = Deadline.after(self._timeout_s)
        request = {
            "symbol": symbol,
            "features": features,
            "model_name": model_name,
            "model_version": model_version,
            "unit_id": unit_id,
        }
        with self._report_failure(f"predict {symbol if isinstance(symbol, str) else ''}"):
            answer = await self._predict(request, deadline)
            return check_prediction(self.server_url, answer)
        return None

    async def batch_predict(
        self, requests: Iterable[Mapping[str, Any]], max_batch_size: int = 32
    ) -> list[dict[str, Any]]:
        """Return one entry a request, in their order: an answer or `{"symbol", "error": {…}}`.

        Every request has `symbol` and `features` and may have the other arguments of `predict`.
        A bad one fails alone. More than `max_batch_size` go to the server in several bodies, one
        after the other; where a whole body fails, each of its requests gets that error.

        Raises:
            ValueError: `max_batch_size` is not a whole number of at least 1.
            ClientError: a body got no answer; only with `raise_errors`.
        """
        if type(max_batch_size) is not int or max_batch_size < 1:
            raise ValueError(
                f"max_batch_size: expected a whole number of at least 1, received {max_batch_size}"
            )
        deadline = Deadline.after(self._batch_timeout_s)
        items = list(requests)
        entries: list[dict[str, Any]] = []
        with self._report_failure("batch_predict"):
            for start in range(0, len(items), max_batch_size):
                chunk = items[start : start + max_batch_size]
                entries += await self._predict_chunk(chunk, max_batch_size, deadline)
        _log_failed(entries)
        return entries

    async def health_check(self) -> bool:
        """Return whether the server answers and is healthy or degraded.

        False is an answer here, so this does not raise; the reason is in the log.
        """
        deadline = Deadline.after(self._timeout_s)
        try:
            answer = await self._transport.call("GET", "/api/ml/health", None, deadline)
            status = answer.get("status") if isinstance(answer, dict) else None
            if status not in ("healthy", "degraded"):
                raise UnexpectedResponseError(
                    self.server_url, f"expected status healthy or degraded, received {status!r:.40}"
                )
        except ClientError as error:
            logger.warning("health_check failed: %s", error)
            return False
        return True

    async def list_models(self) -> list[dict[str, Any]]:
        """Return every version behind the server.

        Empty also if there is no answer: the log then says why. `raise_errors` tells them apart.

        Raises:
            ClientError: no answer; only with `raise_errors`.
        """
        deadline = Deadline.after(self._timeout_s)
        with self._report_failure("list_models"):
            answer = await self._transport.call("GET", "/api/ml/models", None, deadline)
            return check_models(self.server_url, answer)
        return []

    async def reload_model(self, model_name: str, version: str | None = None) -> bool:
        """Have the server load a version and let its stages follow the registry.

        Args:
            model_name: the model.
            version: a version, `production` or `staging`; what the registry has in production if
                None.

        Returns:
            Whether the version answers now. If not, the log says why.

        Raises:
            ClientError: it does not; only with `raise_errors`.
        """
        return await self.reload(model_name, version) is not None

    async def reload(self, model_name: str, version: str | None = None) -> dict[str, Any] | None:
        """Reload as `reload_model` does, and return the server's answer.

        Returns:
            `message` says which version holds which stage now, `version` which one was loaded;
            None where `reload_model` is False.

        Raises:
            ClientError: the version does not answer; only with `raise_errors`.
        """
        with self._report_failure(f"reload_model {model_name}"):
            fields = {"model_name": model_name, "version": version}
            answer = await self._command("/api/ml/models/reload", fields)
            return check_success(self.server_url, answer)
        return None

    async def _predict(self, request: Mapping[str, object], deadline: Deadline) -> object:
        """Send the numbers as they are; as JSON to a server that does not take them so."""
        if self._sends_raw and (body := encode_raw(request)) is not None:
            try:
                return await self._transport.call("POST", PREDICT, body, deadline)
            except ServerRejectedError as error:
                if error.code != "malformed_json" and error.status != UNSUPPORTED_MEDIA_TYPE:
                    raise
            logger.info("%s takes no raw bodies: JSON from now on", self.server_url)
            self._sends_raw = False
        return await self._transport.call("POST", PREDICT, Body(encode_request(request)), deadline)

    async def _command(
        self, path: str, fields: Mapping[str, object], timeout_s: float | None = None
    ) -> object:
        deadline = Deadline.after(timeout_s or self._command_timeout_s)
        return await self._transport.call("POST", path, Body(encode_command(fields)), deadline)

    async def _get(self, path: str) -> object:
        deadline = Deadline.after(self._command_timeout_s)
        return await self._transport.call("GET", path, None, deadline)

    async def _predict_chunk(
        self, items: Sequence[Any], max_batch_size: int, deadline: Deadline
    ) -> list[dict[str, Any]]:
        """Answer what fits into one body; a request that cannot be encoded stays out of it."""
        entries: dict[int, dict[str, Any]] = {}
        encoded: dict[int, bytes] = {}
        for index, item in enumerate(items):
            try:
                encoded[index] = encode_request(item)
            except RequestError as error:
                entries[index] = failed_entry(item, error)
        if encoded:
            body = Body(encode_batch(encoded.values(), max_batch_size))
            try:
                answer = await self._transport.call("POST", "/api/ml/predict/batch", body, deadline)
                answers = check_batch(self.server_url, answer, len(encoded))
            except ClientError as error:
                if self._raise_errors:
                    raise
                answers = [failed_entry(items[index], error) for index in encoded]
            entries.update(zip(encoded, answers, strict=True))
        return [entries[index] for index in range(len(items))]

    @contextmanager
    def _report_failure(self, call: str) -> Iterator[None]:
        """Log why `call` failed; swallow it unless errors are to be raised."""
        try:
            yield
        except ServingError as error:
            logger.warning("%s failed: %s", call, error)
            if self._raise_errors:
                raise


def get_model_client(server_url: str = DEFAULT_SERVER_URL) -> ModelClient:
    """Return this process's client of `server_url`: the same for the same URL."""
    return _client_of(_check_url(server_url))


@functools.cache
def _client_of(server_url: str) -> ModelClient:
    return ModelClient(server_url)


def _log_failed(entries: Sequence[Mapping[str, Any]]) -> None:
    failed = [entry for entry in entries if is_failed(entry)]
    if failed:
        logger.warning(
            "batch_predict: %d of %d requests failed (%s); the first, %s: %s",
            len(failed),
            len(entries),
            ", ".join(
                f"{count} {code}"
                for code, count in Counter(
                    str(entry["error"].get("code")) for entry in failed
                ).items()
            ),
            failed[0].get("symbol"),
            failed[0]["error"].get("message"),
        )


def _check_timeout(name: str, value: float) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name}: expected a number of seconds above 0, received {value!r}")
    return value


def _check_url(server_url: str) -> str:
    """Return the URL in the form that tells servers apart: lower case, no slash at the end."""
    expected = f"expected http(s)://host:port such as {DEFAULT_SERVER_URL}"
    if not isinstance(server_url, str):
        raise ValueError(f"server_url: {expected}, received a {type(server_url).__name__}")  # noqa: TRY004 one error for every bad parameter
    try:
        parts = urlsplit(server_url.strip())
        parts.port  # noqa: B018 raises ValueError on a port that is none
    except ValueError as error:
        raise ValueError(f"server_url: {expected}, received {server_url!r} ({error})") from None
    if parts.username is not None or parts.query or parts.fragment:
        # The URL stands in log lines and errors, so a password must not be in it.
        raise ValueError(f"server_url: {expected}, without user, password, query or fragment")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"server_url: {expected}, received {server_url!r}")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
