"""A second front end: one request per line of text. It imports nothing from the REST front end.

    predict SYMBOL NUMBERS [model_name=…] [model_version=…] [unit_id=…]
    batch REQUEST; REQUEST; …      requests without the word `predict`
    models
    reload MODEL [VERSION]

A response is `ok …` or `error CODE: MESSAGE`; in a batch there is one per request.
"""

from serve_app.api.services import Services
from serve_app.data_plane.requests import BatchRequest, PredictionRequest
from serve_app.data_plane.responses import FailedItem, PredictionResponse
from serve_app.data_plane.timing import Stopwatch
from serve_app.errors import InvalidRequestError, ServingError

DIRECTIONS = ("HOLD", "BUY", "SELL")


class LineFrontEnd:
    """Decodes lines, calls the core and encodes its responses."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def serve(self, line: str) -> str:
        """Return the response to one line."""
        command, _, rest = line.partition(" ")
        try:
            match command:
                case "predict":
                    request = decode_request(rest)
                    response = await self._services.predictions.predict(request, Stopwatch())
                    return encode_item(response)
                case "batch":
                    batch = BatchRequest(items=[decode_item(item) for item in rest.split(";")])
                    served = await self._services.batches.predict(batch, Stopwatch())
                    return "; ".join(encode_item(item) for item in served.items)
                case "models":
                    models = self._services.status.models()
                    return " ".join(["ok", *(model.metadata.version for model in models)])
                case "reload":
                    name, _, version = rest.partition(" ")
                    result = await self._services.reloader.reload(name, version or None, "line")
                    return f"ok {result.version}"
        except ServingError as error:
            return encode_error(error)
        return encode_error(InvalidRequestError("command", "a known command", command))


def decode_request(text: str) -> PredictionRequest:
    """Return the request in a text.

    Raises:
        InvalidRequestError: the text is not a request.
    """
    symbol, *rest = text.split()
    if not rest:
        raise InvalidRequestError("features", "numbers", "nothing")
    numbers, *options = rest
    fields = dict(option.split("=", 1) for option in options)
    try:
        features = [float(number) for number in numbers.split(",")]
        return PredictionRequest(symbol=symbol, features=features, **fields)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError("request", "numbers and known fields", str(error)) from error


def decode_item(text: str) -> PredictionRequest | FailedItem:
    """Return a request of a batch, or its failure."""
    try:
        return decode_request(text)
    except InvalidRequestError as error:
        return FailedItem(text.split()[0], error)


def encode_item(item: PredictionResponse | FailedItem) -> str:
    """Return the response to one request."""
    if isinstance(item, FailedItem):
        return encode_error(item.error)
    return f"ok {DIRECTIONS[item.prediction.direction]} {item.version}"


def encode_error(error: ServingError) -> str:
    """Return an error by its code."""
    return f"error {error.code}: {error}"
