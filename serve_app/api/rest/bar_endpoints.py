"""The endpoints for bars."""

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serve_app.api.rest import schemas
from serve_app.api.rest.bar_documents import encode_page, push_document, symbols_document
from serve_app.api.rest.bar_parsing import (
    InvalidPush,
    parse_query,
    parse_stream_query,
    read_pushes,
)
from serve_app.api.rest.bodies import prefers_arrow, read_body
from serve_app.api.rest.encoding import json_response
from serve_app.api.rest.slices import TimeSlices
from serve_app.api.services import Services
from serve_app.bars.pushes import PushReport
from serve_app.errors import InvalidRequestError


def add_bar_endpoints(app: FastAPI, services: Services, slices: TimeSlices) -> None:
    """Add the endpoints for bars."""

    @app.post(
        "/api/ml/bars",
        responses=schemas.responses(schemas.PushResponse),
        openapi_extra=schemas.forms_of_push(),
    )
    async def push(request: Request) -> Response:
        """Store bars; the response is sent once they are committed."""
        body = await read_body(request)
        query = request.scope["query_string"].decode("latin-1")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == schemas.ARROW:
            report = await services.bars.append_stream(body, *parse_stream_query(query))
            return json_response(push_document(report))
        if query:
            expected = f"none; only a body of {schemas.ARROW} has its symbol there"
            raise InvalidRequestError("query", expected, "one")
        parsed = await slices.run(read_pushes(body))
        pushes = [item for item in parsed.items if not isinstance(item, InvalidPush)]
        report = await services.bars.append(pushes) if pushes else PushReport()
        return json_response(push_document(report, parsed))

    @app.get(
        "/api/ml/bars/{symbol:path}",
        responses=schemas.responses_of_bars(),
        openapi_extra={"parameters": schemas.parameters_of_bars()},
    )
    async def bars(symbol: str, request: Request) -> Response:
        """Return bars as known now or at an earlier time, in JSON or as an Arrow stream."""
        query = parse_query(symbol, request.scope["query_string"].decode("latin-1"))
        if prefers_arrow(request.headers.get("accept", "")):
            stream = await services.bars.query_stream(query)
            return Response(stream, media_type=schemas.ARROW)
        page = await services.bars.query(query)
        content = await slices.run(encode_page(page))
        return Response(content, media_type="application/json")

    @app.get("/api/ml/symbols", responses=schemas.responses(list[schemas.SymbolEntry]))
    async def symbols() -> Response:
        """List every symbol and timeframe of which there are bars."""
        return json_response(symbols_document(await services.bars.symbols()))
