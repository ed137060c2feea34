"""ModelClient, the client of the model server."""

import functools
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from serve_app.client.bars import BarCalls
from serve_app.client.credentials import Credentials, tls_context
from serve_app.client.deadlines import Deadline
from serve_app.client.encoding import (
    DOUBLE,
    SINGLE,
    Body,
    encode_batch,
    encode_command,
    encode_raw,
    encode_request,
    json_type,
)
from serve_app.client.experiments import ExperimentCalls
from serve_app.client.number_types import NumberTypes, is_rounded
from serve_app.client.parameters import DEFAULT_SERVER_URL, ClientParameters
from serve_app.client.responses import (
    check_batch,
    check_list,
    check_prediction,
    check_success,
    describe_failures,
    failed_entry,
)
from serve_app.client.series import SeriesCalls
from serve_app.client.streaming import StreamCalls
from serve_app.client.transport import Transport
from serve_app.errors import (
    ClientError,
    RequestError,
    RoundedFeaturesError,
    ServerRejectedError,
    ServingError,
    UnexpectedResponseError,
)
from serve_app.timeouts import CLIENT_COMMAND_S, CLIENT_QUERY_S, CLIENT_UNREACHABLE_S

logger = logging.getLogger(__name__)

PREDICT = "/api/ml/predict"
UNSUPPORTED_MEDIA_TYPE = 415


class ModelClient(ExperimentCalls, BarCalls, SeriesCalls, StreamCalls):
    """A client of a model server, with deadlines that suit a trading loop.

    A call that fails logs one warning and returns None, False or an empty list. With
    `raise_errors` it logs the warning and raises: a `ClientError`, or a `RequestError` for a
    request that was not sent. Connection errors and 503 are retried within the deadline.

    A client may be used in several event loops and threads, each loop with its own connections.
    They are opened on first use; `cleanup`, leaving `async with`, or the end of `asyncio.run`
    closes those of the loop. A pickled client, as processes receive it, has the same parameters,
    which include a `token` that was given, and no connections.

    >>> client = ModelClient("http://localhost:8001/", timeout_s=0.5)
    >>> client.server_url
    'http://localhost:8001'

    Args:
        server_url: http or https, host, port, and optionally a path in front of `/api/ml`.
        timeout_s: limit of `predict`, `health_check` and `list_models`, retries included.
        batch_timeout_s: limit of `batch_predict`, all its bodies included.
        command_timeout_s: limit of every other call, such as `reload_model`, which returns once the
            version is loaded; the default is longer than the server's own limits. Outcomes and
            queries of experiments have at most 60 s of it, as does any time without a connection.
        connect_timeout_s: limit of one attempt to connect, which also takes at most half of the
            time left.
        raise_errors: raise an error instead of returning None, False or an empty list.
        missing_values: send NaN, as a missing value, to models that accept it; others reject the
            request. By default the client rejects NaN before anything is sent.
        token: the token of this bot; by default that of the variable TRADESERVE_TOKEN. Without one,
            a server on this machine that requires a token receives the user's local one.
        ca_file: certificates in PEM that an https server's certificate must be signed by; by
            default those of the system.
        proxy: an HTTP proxy, `http://[user:password@]host:port`, that receives every call. The
            environment's variables for proxies are ignored: they would also apply to a server on
            this machine.

    Raises:
        ValueError: a URL, a timeout, the token or the file of certificates is invalid.
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
        missing_values: bool = False,
        token: str | None = None,
        ca_file: Path | str | None = None,
        proxy: str | None = None,
    ) -> None:
        self._parameters = ClientParameters(
            server_url=server_url,
            timeout_s=timeout_s,
            batch_timeout_s=batch_timeout_s,
            command_timeout_s=command_timeout_s,
            connect_timeout_s=connect_timeout_s,
            raise_errors=raise_errors,
            missing_values=missing_values,
            token=token,
            ca_file=ca_file,
            proxy=proxy,
        )
        self._transport = Transport(
            self._parameters.server_url,
            connect_timeout_s,
            Credentials(self._parameters.server_url, token, is_direct=proxy is None),
            tls_context(ca_file),
            proxy,
        )
        self._sends_raw = True
        self._types = NumberTypes()

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        """Return how another process builds this client; connections stay in this process."""
        return functools.partial(type(self), **self._parameters.as_arguments()), ()

    @property
    def server_url(self) -> str:
        """The address of the server, without a trailing slash."""
        return self._transport.server_url

    async def initialize(self) -> None:
        """Open the session of the running loop; the first call opens its connections."""
        await self._transport.open()

    async def cleanup(self) -> None:
        """Close the connections of the running loop; a later call opens new ones."""
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
        features: ArrayLike | None = None,
        model_name: str | None = None,
        model_version: str | None = None,
        unit_id: str | None = None,
        timeframe: str | None = None,
        bar: int | str | datetime | None = None,
        max_age_s: float | None = None,
    ) -> dict[str, Any] | None:
        """Return the server's response for one window, or None if the call fails.

        Without features, it is the prediction of the server's own window of the symbol.

        Args:
            symbol: the traded instrument, for example BTCUSDT.
            features: (timesteps, features), or flat in row order; sent as float32, or as float64
                to a model that takes float64.
            model_name: the name of the model; the server's default model if None.
            model_version: a version, `production` or `staging`; production if None.
            unit_id: the bot or account that an experiment keeps in one variant.
            timeframe: the timeframe of the server's window; that of the model's features if None.
            bar: the last bar of the server's window, by its opening: a time with a zone, its ISO
                8601, or milliseconds since 1970; the newest bar if None.
            max_age_s: the longest time since the end of that bar; if None, one and a half
                timeframes of an open market, or any time if `bar` is given.

        Raises:
            ClientError: the call failed; this and the next two only with `raise_errors`.
            InvalidFeaturesError: the features are not finite numbers, or NaN with
                `missing_values`; nothing was sent.
            InvalidRequestError: another field cannot be sent.
        """
        deadline = Deadline.after(self._parameters.timeout_s, is_sent=True)
        request = {
            "symbol": symbol,
            "features": features,
            "model_name": model_name,
            "model_version": model_version,
            "unit_id": unit_id,
            "timeframe": timeframe,
            "bar": bar,
            "max_age_s": max_age_s,
        }
        with self._report_failure(f"predict {symbol if isinstance(symbol, str) else ''}"):
            response = await self._predict(request, deadline)
            return check_prediction(self.server_url, response)
        return None

    async def batch_predict(
        self, requests: Iterable[Mapping[str, Any]], max_batch_size: int = 32
    ) -> list[dict[str, Any]]:
        """Return one entry per request, in their order: a response or `{"symbol", "error": {…}}`.

        More than `max_batch_size` requests are sent in several bodies, one after the other. An
        invalid request fails alone; if a whole body fails, each of its requests has that error.

        Args:
            requests: mappings with `symbol`, `features` and optionally the other arguments of
                `predict`.
            max_batch_size: the largest number of requests per body.

        Raises:
            ValueError: `max_batch_size` is not a whole number of at least 1.
            ClientError: a body failed; only with `raise_errors`.
        """
        if type(max_batch_size) is not int or max_batch_size < 1:
            raise ValueError(
                f"max_batch_size: expected a whole number of at least 1, received {max_batch_size}"
            )
        deadline = Deadline.after(self._parameters.batch_timeout_s, is_sent=True)
        items = list(requests)
        entries: list[dict[str, Any]] = []
        with self._report_failure("batch_predict"):
            for start in range(0, len(items), max_batch_size):
                chunk = items[start : start + max_batch_size]
                entries += await self._predict_chunk(chunk, max_batch_size, deadline)
        if failures := describe_failures(entries):
            logger.warning("batch_predict: %s", failures)
        return entries

    async def health_check(self) -> bool:
        """Return whether the server responds and is healthy or degraded.

        This never raises, since False is a result; the log contains the reason.
        """
        deadline = Deadline.after(self._parameters.timeout_s)
        try:
            response = await self._transport.call("GET", "/api/ml/health", None, deadline)
            status = response.get("status") if isinstance(response, dict) else None
            if status not in ("healthy", "degraded"):
                raise UnexpectedResponseError(
                    self.server_url, f"expected status healthy or degraded, received {status!r:.40}"
                )
        except ClientError as error:
            logger.warning("health_check failed: %s", error)
            return False
        return True

    async def list_models(self) -> list[dict[str, Any]]:
        """Return every version that is deployed.

        The list is also empty if the call fails, which the log and `raise_errors` distinguish.

        Raises:
            ClientError: the call failed; only with `raise_errors`.
        """
        deadline = Deadline.after(self._parameters.timeout_s)
        with self._report_failure("list_models"):
            response = await self._transport.call("GET", "/api/ml/models", None, deadline)
            return check_list(self.server_url, response, "models")
        return []

    async def reload_model(self, model_name: str, version: str | None = None) -> bool:
        """Load a version into the server, whose stages then follow the registry.

        Args:
            model_name: the name of the model.
            version: a version, `production` or `staging`; the registry's production if None.

        Returns:
            Whether the version is loaded and serves. If not, the log contains the reason.

        Raises:
            ClientError: the version is not loaded; only with `raise_errors`.
        """
        return await self.reload(model_name, version) is not None

    async def reload(self, model_name: str, version: str | None = None) -> dict[str, Any] | None:
        """Load a version as `reload_model` does, and return the server's response.

        Args:
            model_name: the name of the model.
            version: a version, `production` or `staging`; the registry's production if None.

        Returns:
            The response, whose `version` is the version loaded and whose `message` lists the
            versions in each stage; None where `reload_model` returns False.

        Raises:
            ClientError: the version is not loaded; only with `raise_errors`.
        """
        with self._report_failure(f"reload_model {model_name}"):
            fields = {"model_name": model_name, "version": version}
            response = await self._command("/api/ml/models/reload", fields)
            return check_success(self.server_url, response)
        return None

    async def _predict(self, request: Mapping[str, object], deadline: Deadline) -> object:
        """Send the features as float32, or as float64 if the model takes them."""
        dtype = self._types.type_of([request])
        try:
            return await self._predict_in(request, dtype, deadline)
        except ServerRejectedError as error:
            if error.code != RoundedFeaturesError.code or dtype == DOUBLE:
                raise
        self._types.add_double([request])
        return await self._predict_in(request, DOUBLE, deadline)

    async def _predict_in(
        self, request: Mapping[str, object], dtype: np.dtype[Any], deadline: Deadline
    ) -> object:
        """Send the features as raw bytes, or as JSON to a server that rejects raw bodies."""
        missing = self._parameters.missing_values
        raw = encode_raw(request, dtype, missing_values=missing) if self._sends_raw else None
        if raw is not None:
            try:
                return await self._transport.call("POST", PREDICT, raw, deadline)
            except ServerRejectedError as error:
                if error.code != "malformed_json" and error.status != UNSUPPORTED_MEDIA_TYPE:
                    raise
            logger.info("server %s rejects raw bodies: sending JSON from now on", self.server_url)
            self._sends_raw = False
        body = Body(encode_request(request, dtype, missing_values=missing), json_type(dtype))
        return await self._transport.call("POST", PREDICT, body, deadline)

    async def _command(self, path: str, fields: Mapping[str, object]) -> object:
        deadline = Deadline.after(self._parameters.command_timeout_s, CLIENT_UNREACHABLE_S)
        body, key = Body(encode_command(fields)), uuid.uuid4().hex
        return await self._transport.call("POST", path, body, deadline, key)

    async def _post(self, path: str, body: Body) -> object:
        deadline = Deadline.after(min(self._parameters.command_timeout_s, CLIENT_QUERY_S))
        return await self._transport.call("POST", path, body, deadline)

    async def _get(self, path: str) -> object:
        deadline = Deadline.after(min(self._parameters.command_timeout_s, CLIENT_QUERY_S))
        return await self._transport.call("GET", path, None, deadline)

    async def _predict_chunk(
        self, items: Sequence[Any], max_batch_size: int, deadline: Deadline
    ) -> list[dict[str, Any]]:
        """Return the entries of one body, which omits the requests that cannot be encoded."""
        entries: dict[int, dict[str, Any]] = {}
        encoded: dict[int, bytes] = {}
        dtype = self._types.type_of(items)
        for index, item in enumerate(items):
            try:
                encoded[index] = encode_request(
                    item, dtype, missing_values=self._parameters.missing_values
                )
            except RequestError as error:
                entries[index] = failed_entry(item, error)
        if encoded:
            body = Body(encode_batch(encoded.values(), max_batch_size), json_type(dtype))
            try:
                response = await self._transport.call(
                    "POST", "/api/ml/predict/batch", body, deadline
                )
                received = check_batch(self.server_url, response, len(encoded))
            except ClientError as error:
                if self._parameters.raise_errors:
                    raise
                received = [failed_entry(items[index], error) for index in encoded]
            entries.update(zip(encoded, received, strict=True))
        rounded = [index for index, entry in entries.items() if is_rounded(entry)]
        if rounded and dtype == SINGLE:
            again = [items[index] for index in rounded]
            self._types.add_double(again)
            sent = await self._predict_chunk(again, max_batch_size, deadline)
            entries.update(zip(rounded, sent, strict=True))
        return [entries[index] for index in range(len(items))]

    @contextmanager
    def _report_failure(self, call: str) -> Iterator[None]:
        """Log why `call` failed, and suppress the error unless `raise_errors` is set."""
        try:
            yield
        except ServingError as error:
            # A symbol may hold half a character, which no log handler can encode.
            reason = f"{call} failed: {error}".encode(errors="backslashreplace").decode()
            logger.warning("%s", reason)
            if self._parameters.raise_errors:
                raise
