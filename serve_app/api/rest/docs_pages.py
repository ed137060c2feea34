"""The pages that describe the endpoints, without any file from another server.

Swagger UI and Redoc come from the package fastapi-offline, which contains them; their content
policy permits scripts of this server only.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response

from serve_app.api.rest.hosts import CONTENT_POLICY

STATIC = Path(fastapi_offline.__file__).with_name("static")
FILES: Mapping[str, str] = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
"""The served files of the package and their types."""

START = "start.js"
"""The script that starts Swagger UI: an inline script would need a weaker policy."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; worker-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content policy of the pages: both viewers write styles into the page."""

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tradeserve</title>
<link rel="icon" href="docs/favicon.png">
"""
# Relative addresses also hold behind a prefix.
SWAGGER_PAGE = f"""{_HEAD}<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/{START}"></script>
</body>
</html>
"""
REDOC_PAGE = f"""{_HEAD}</head>
<body style="margin: 0">
<redoc spec-url="openapi.json"></redoc>
<script src="docs/redoc.standalone.js"></script>
</body>
</html>
"""
_OPTIONS = {"url": "openapi.json", "dom_id": "#swagger-ui", "deepLinking": True}
_START_SCRIPT = f"SwaggerUIBundle({json.dumps(_OPTIONS)});\n"


def add_docs_pages(app: FastAPI) -> None:
    """Add `/docs`, `/redoc` and their files."""
    policy = {CONTENT_POLICY.decode(): PAGE_POLICY}

    @app.get("/docs", include_in_schema=False)
    async def swagger() -> Response:
        return HTMLResponse(SWAGGER_PAGE, headers=policy)

    @app.get("/redoc", include_in_schema=False)
    async def redoc() -> Response:
        return HTMLResponse(REDOC_PAGE, headers=policy)

    @app.get("/docs/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        if name == START:
            return Response(_START_SCRIPT, media_type="text/javascript")
        if name not in FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(STATIC / name, media_type=FILES[name])
